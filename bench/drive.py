"""Running the two sides of a comparison in turns.

finch is started anew for each round and measures itself after a warm-up pass of its own; a peer is one Python process
kept alive (starting an interpreter costs it nothing that way) that was warmed up before the first round. Both sides read
the clock inside their own process, around the same texts, tokenisation included. A round is finch, then each peer; the
ratio of a round is of figures taken seconds apart.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import benchlib

PEERS = benchlib.ROOT / "bench" / "peers"


class Failed(Exception):
    """A side that died or answered something else than JSON; the message holds what it said."""


def finch_binary():
    path = pathlib.Path(os.environ.get("FINCH", benchlib.ROOT / "build" / "finch"))
    if not path.is_file():
        raise Failed(f"no finch at {path}; run: make build (or set FINCH to the program)")
    return path


def pinned(threads):
    """The environment of both sides: the same number of threads, whatever pool they use."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}


def finch(threads, *arguments, environment=None):
    """One finch run with --json; its document. threads None: a command that measures nothing."""
    count = [] if threads is None else ["--threads", str(threads)]
    command = [str(finch_binary()), *map(str, arguments), *count, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**(os.environ if threads is None else pinned(threads)), **(environment or {})})
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as why:
        raise Failed(f"{' '.join(command)} printed no JSON document ({why}): {done.stdout[:400]!r}") from None


class Peer:
    """A peer process that answers one JSON line for each JSON line; use as a context manager."""

    def __init__(self, script, threads, *arguments, environment=None):
        self.name = script
        command = [sys.executable, str(PEERS / script), *map(str, arguments)]
        self.said = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # a pipe nobody reads would fill and stop it
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said,
                                        text=True, env={**pinned(threads), **(environment or {})})

    def ask(self, **command):
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.kill()
            self.process.wait()
            self.said.seek(0)
            raise Failed(f"{self.name} died at {command}: {self.said.read().strip()[-2000:]}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.process.kill()
        self.process.communicate()
        self.said.close()


def best_batch(peer, batches):
    """Warm-up and choice at once: the peer's fastest batch size, from one pass at each after a pass that is thrown away."""
    peer.ask(do="pass", batch=batches[0])
    tried = {batch: peer.ask(do="pass", batch=batch)["texts_per_second"] for batch in batches}
    return max(tried, key=tried.get), tried


def compare(rounds, ours, theirs, figure, goal, higher_is_better=True):
    """Ratios of rounds already run: ours and theirs are lists of documents, `figure` a key in both."""
    ratios = [a[figure] / b[figure] if higher_is_better else b[figure] / a[figure] for a, b in zip(ours, theirs, strict=True)]
    if len(ratios) != rounds:
        raise Failed(f"{len(ratios)} rounds were run, {rounds} were asked for")
    return {
        "figure": figure,
        "finch": benchlib.spread([document[figure] for document in ours]),
        "peer": benchlib.spread([document[figure] for document in theirs]),
        "ratio": benchlib.spread(ratios),
        "goal": goal,
        "reached": benchlib.spread(ratios)["median"] >= goal,
        "rounds": rounds,
    }


def run_main(main):
    """The exit code of a driver: 1 with a line that says what failed."""
    try:
        return main() or 0
    except Failed as why:
        benchlib.note(f"{pathlib.Path(sys.argv[0]).name}: {why}")
        return 1
