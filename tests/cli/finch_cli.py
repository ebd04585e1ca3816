"""Runs the program under test for the tests of this folder: FINCH names it, FINCH_SOURCE the checkout (ctest sets both)."""
import csv
import json
import os
import shutil
import subprocess
import tempfile
import unittest

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


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class FolderTest(unittest.TestCase):
    """A test with a folder of its own, gone at its end."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        """content: bytes, or text that goes out as UTF-8."""
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)
