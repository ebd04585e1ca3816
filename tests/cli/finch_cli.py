"""Runs the program under test for the tests of this folder: FINCH names it, FINCH_SOURCE the checkout (ctest sets both)."""
import json
import os
import subprocess

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))


def unprivileged():
    """What makes finch() run as a user whom permissions bind: nothing for most, nobody's id for root; None where nobody may
    not even start the program."""
    if os.geteuid() != 0:
        return {}
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    try:
        return user if subprocess.run([PROGRAM, "--version"], capture_output=True, **user).returncode == 0 else None
    except PermissionError:
        return None


def finch(*words, env=None, stdin=b"", timeout=120, **more):
    """The finished process: stdout and stderr are text."""
    done = subprocess.run([PROGRAM, *map(str, words)], input=stdin, capture_output=True, timeout=timeout,
                          env={**os.environ, **(env or {})}, **more)
    done.stdout = done.stdout.decode("utf-8", "replace")
    done.stderr = done.stderr.decode("utf-8", "replace")
    return done


def finch_json(*words, **more):
    """The document of a run with --json, which must succeed and print nothing else."""
    done = finch(*words, "--json", **more)
    assert done.returncode == 0, f"finch {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)
