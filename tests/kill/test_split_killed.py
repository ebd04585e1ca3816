"""SIGKILL at random moments of finch split: where the train file is, all parts are there and belong together; a folder of
folds is whole or not there at all."""
import csv
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

TWEETS5 = os.path.join(SOURCE, "data", "fintweets5", "train.csv")
PARTS = ("train.csv", "valid.csv", "test.csv")
ROUNDS = 14


def words_of(folder, seed):
    """--clusters none: the run is over sooner, and what is killed is the writing."""
    return [PROGRAM, "split", "--input", TWEETS5, "--clusters", "none", "--seed", str(seed), "--threads", "1", "--quiet",
            *(word for name in PARTS for word in (f"--{name[:-4]}", os.path.join(folder, name)))]


def content(folder):
    parts = {}
    for name in PARTS:
        if os.path.exists(os.path.join(folder, name)):
            with open(os.path.join(folder, name), "rb") as file:
                parts[name] = file.read()
    return parts


class Killed(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-split-kill-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def seconds(self, words):
        begin = time.monotonic()
        subprocess.run(words, check=True, timeout=120)
        return time.monotonic() - begin

    def kill(self, words, seconds):
        running = subprocess.Popen(words)
        try:
            running.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            return True

    def test_parts_that_stand_beside_train_belong_to_it(self):
        whole = {}
        for seed in (1, 2):
            seconds = self.seconds(words_of(self.folder, seed))
            whole[seed] = content(self.folder)
        draw = random.Random(20261127)
        killed = 0
        for round_ in range(ROUNDS):
            new, old = (2, 1) if round_ % 2 == 0 else (1, 2)
            for name, text in whole[old].items():
                with open(os.path.join(self.folder, name), "wb") as file:
                    file.write(text)
            killed += self.kill(words_of(self.folder, new), draw.uniform(0.3, 1.05) * seconds)
            found = content(self.folder)
            if "train.csv" in found:
                self.assertIn(found, (whole[old], whole[new]))
            for name, text in found.items():
                self.assertIn(text, (whole[old][name], whole[new][name]))
        self.assertGreater(killed, 0, "every run ended before it was killed; the test shows nothing")

    def test_a_folder_of_folds_is_whole_or_absent(self):
        folds = os.path.join(self.folder, "folds")
        words = [PROGRAM, "split", "--input", TWEETS5, "--clusters", "none", "--folds", "4", "--output", folds, "--format", "csv", "--quiet"]
        seconds = self.seconds(words)
        draw = random.Random(20261128)
        killed = 0
        for _ in range(ROUNDS // 2):
            shutil.rmtree(folds, True)
            killed += self.kill(words, draw.uniform(0.3, 1.05) * seconds)
            if not os.path.exists(folds):
                continue
            rows = 0
            for fold in range(4):
                for name in ("train.csv", "valid.csv"):
                    with open(os.path.join(folds, f"fold-{fold}", name), newline="", encoding="utf-8") as file:
                        rows += sum(1 for _ in csv.DictReader(file))
            self.assertEqual(rows, 4 * 7808)
        self.assertGreater(killed, 0, "every run ended before it was killed; the test shows nothing")


if __name__ == "__main__":
    unittest.main()
