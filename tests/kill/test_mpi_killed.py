"""Training over MPI that does not end well: a rank that dies, fails or is interrupted ends all with an error, and leaves a checkpoint
from which any number of ranks goes on."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from finch_cli import PROGRAM  # noqa: E402
from mpi_case import ENV, LAUNCH, MISSING, RanksTest, ranks_of  # noqa: E402


@unittest.skipIf(MISSING, f"{MISSING} (tools/setup.sh test)")
class Killed(RanksTest):
    def kill(self, rank, output, words):
        """Kills the rank once there is a checkpoint; everything ends soon, with an error."""
        running = subprocess.Popen([*LAUNCH, "2", PROGRAM, *words, "--threads", "1", "--quiet"], env=ENV, stderr=subprocess.PIPE, text=True)
        checkpoint = os.path.join(self.path(output) + ".training", "checkpoint.finch")
        deadline = time.monotonic() + 60
        while not os.path.exists(checkpoint) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(ranks_of(self.path(output))[rank], signal.SIGKILL)
        _, said = running.communicate(timeout=30)
        self.assertNotEqual(running.returncode, 0)
        self.assertIn(f"rank {rank}", said)
        self.assertTrue(os.path.exists(checkpoint))
        self.assertFalse(os.path.exists(self.path(output)))
        for _ in range(100):  # mpirun's own children may take a moment
            if not ranks_of(self.path(output)):
                break
            time.sleep(0.05)
        self.assertEqual(ranks_of(self.path(output)), {})

    def test_a_dead_rank_ends_all_and_any_number_goes_on(self):
        how = ["--epochs", "5", "--batch", "8", "--checkpoint-every", "10", "--eval-every", "60", "--dropout", "0.1"]
        self.run_ranks(1, *self.words("tiny-bert", "whole", *how), "--quiet")
        self.kill(1, "o", self.words("tiny-bert", "o", *how))
        shutil.copytree(self.path("o.training"), self.path("again.training"))
        for output, n in (("o", 3), ("again", 1)):
            self.run_ranks(n, *self.words("tiny-bert", output, *how), "--resume", "--quiet")
            self.same_course("whole", output)
        cards = []
        for output in ("whole", "o", "again"):
            with open(os.path.join(self.path(output), "finch.json"), encoding="utf-8") as file:
                cards.append(json.load(file)["metrics"]["accuracy"])
        self.assertEqual(len(set(cards)), 1, cards)

    def test_a_dead_rank_0_ends_all(self):
        how = ["--epochs", "5", "--batch", "8", "--checkpoint-every", "10", "--eval-every", "60", "--dropout", "0.1"]
        self.kill(0, "o", self.words("tiny-bert", "o", *how))
        self.run_ranks(2, *self.words("tiny-bert", "o", *how), "--resume", "--quiet")
        self.assertEqual(self.events("o")[-1]["step"], 130)

    def test_an_error_of_rank_0_ends_all(self):
        os.mkdir(self.path("o"))
        with open(self.path("o/there"), "w", encoding="utf-8"):
            pass
        self.assertIn("finch train: ", self.run_ranks(2, *self.words("tiny-bert", "o"), code=2).stderr)

    def test_an_interrupt_stops_all_after_the_same_step(self):
        running = subprocess.Popen([*LAUNCH, "2", PROGRAM, *self.words("tiny-bert", "o", "--epochs", "500"), "--threads", "1", "--quiet"], env=ENV,
                                   stderr=subprocess.PIPE, text=True)
        journal = os.path.join(self.path("o.training"), "metrics.jsonl")
        while not (os.path.exists(journal) and os.path.getsize(journal) > 0):
            time.sleep(0.01)
        running.terminate()
        _, said = running.communicate(timeout=60)
        self.assertNotEqual(running.returncode, 0)
        self.assertIn("--resume", said)
        self.assertTrue(os.path.exists(os.path.join(self.path("o.training"), "checkpoint.finch")))


if __name__ == "__main__":
    unittest.main()
