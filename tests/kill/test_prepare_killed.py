"""SIGKILL and SIGINT at random moments of finch prepare: each output is the old one or the whole new one, the table of kept
rows last, and nothing stays behind in the temporary folder."""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from finch_cli import PROGRAM, SOURCE  # noqa: E402

STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
OUTPUTS = ("out.csv", "out.dropped.csv", "out.report.json", "out.report.html")
ROUNDS = 10


class Killed(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-kill-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.scratch = tempfile.mkdtemp(prefix="finch-kill-tmp-")
        self.addCleanup(shutil.rmtree, self.scratch, True)
        self.words = [PROGRAM, "prepare", "--input", STOCKNET, "--output", os.path.join(self.folder, OUTPUTS[0]), "--quiet"]
        self.environment = {**os.environ, "TMPDIR": self.scratch}

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def put_old(self):
        for name in OUTPUTS:
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(b"old")

    def test_no_half_output(self):
        begin = time.monotonic()
        subprocess.run(self.words, check=True, timeout=300, env=self.environment)
        seconds = time.monotonic() - begin
        whole = {name: self.read(name) for name in OUTPUTS}
        draw, struck = random.Random(20261127), 0
        for turn in range(ROUNDS):
            self.put_old()
            running = subprocess.Popen(self.words, env=self.environment, stderr=subprocess.DEVNULL)
            try:
                running.wait(draw.uniform(0, 1.1 * seconds))
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL if turn % 2 else signal.SIGINT)
                code = running.wait(60)
                struck += 1
                if turn % 2 == 0 and self.read(OUTPUTS[0]) == b"old":
                    self.assertEqual(code, 130)
                    self.assertEqual(sorted(os.listdir(self.folder)), sorted(OUTPUTS)) # nothing beside
            found = {name: self.read(name) for name in OUTPUTS}
            for name in OUTPUTS:
                self.assertIn(found[name], (b"old", whole[name]), name)
            if found[OUTPUTS[0]] != b"old":
                self.assertEqual(found, whole) # where the last one is, all are
            self.assertEqual(os.listdir(self.scratch), [])
            for name in set(os.listdir(self.folder)) - set(OUTPUTS):
                os.remove(os.path.join(self.folder, name)) # a part that SIGKILL left
        self.assertGreater(struck, 0, "every run ended before it was stopped; the test shows nothing")


if __name__ == "__main__":
    unittest.main()
