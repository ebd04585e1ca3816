"""SIGKILL at random moments of finch score: the output is the old one or the whole new one, never a part."""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from finch_cli import PROGRAM, SOURCE  # noqa: E402

TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
ROUNDS = 12


class Killed(unittest.TestCase):
    def test_no_half_output(self):
        folder = tempfile.mkdtemp(prefix="finch-kill-")
        self.addCleanup(shutil.rmtree, folder, True)
        out = os.path.join(folder, "out.csv")
        words = [PROGRAM, "score", "--model", TINY, "--input", STOCKNET, "--limit", "6000", "--output", out, "--threads", "1", "--quiet"]
        begin = time.monotonic()
        subprocess.run(words, check=True, timeout=120)
        seconds = time.monotonic() - begin
        with open(out, "rb") as file:
            whole = file.read()
        draw = random.Random(20261123)
        killed = 0
        for _ in range(ROUNDS):
            with open(out, "wb") as file:
                file.write(b"old")
            running = subprocess.Popen(words)
            try:
                running.wait(draw.uniform(0, 1.1 * seconds))
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
                killed += 1
            with open(out, "rb") as file:
                self.assertIn(file.read(), (b"old", whole))
        self.assertGreater(killed, 0, "every run ended before it was killed; the test shows nothing")


if __name__ == "__main__":
    unittest.main()
