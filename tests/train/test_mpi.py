"""finch train and finch pretrain by several processes over MPI: the losses are those of one process, rank 0 alone writes and speaks, a
rank that dies ends all with a checkpoint from which any number of ranks goes on, and without the module finch says what is missing."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

import pyarrow.csv
import pyarrow.parquet as pq
import safetensors.numpy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from finch_cli import PROGRAM, SOURCE, FolderTest, finch  # noqa: E402

MODELS = os.path.join(SOURCE, "tests", "fixtures", "models")
TWEETS = os.path.join(SOURCE, "data", "fintweets5", "valid.csv")
LAUNCH = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n"]
# A process of these tests may be started by a process of another launcher.
ENV = {**{k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "PRTE"))}, "OMPI_ALLOW_RUN_AS_ROOT": "1",
       "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
MODULE = os.path.join(os.path.dirname(PROGRAM), "libfinch_mpi.so")
MISSING = next((what for what, there in (("Open MPI's mpirun is not installed", shutil.which("mpirun")), ("libfinch_mpi.so was not built", os.path.exists(MODULE)))
                if not there), None)
TOLERANCE = 1e-5


def ranks_of(output):
    """The process ids of the ranks that work on the output, by rank."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/environ", "rb") as file:
                env = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
        except OSError:
            continue
        if output.encode() in words and b"OMPI_COMM_WORLD_RANK" in env and words[0].endswith(b"finch"):
            found[int(env[b"OMPI_COMM_WORLD_RANK"])] = int(pid)
    return found


@unittest.skipIf(MISSING, f"{MISSING} (tools/setup.sh test)")
class Together(FolderTest):
    def setUp(self):
        super().setUp()
        table = pyarrow.csv.read_csv(TWEETS)
        self.train, self.valid = self.path("train.parquet"), self.path("valid.parquet")
        pq.write_table(table.slice(0, 203), self.train)
        pq.write_table(table.slice(300, 101), self.valid)

    def run_ranks(self, n, *words, code=0):
        launch = [*LAUNCH, str(n)] if n > 1 else []
        done = subprocess.run([*launch, PROGRAM, *map(str, words), "--threads", "1"], capture_output=True, timeout=120, env=ENV, text=True)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def words(self, model, output, *more):
        return ["train", "--model", os.path.join(MODELS, model), "--train", self.train, "--valid", self.valid, "--output", self.path(output),
                "--log-every", "1", "--patience", "0", *more]

    def events(self, output):
        with open(os.path.join(self.path(output), "metrics.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def same_course(self, one, many):
        a, b = self.events(one), self.events(many)
        self.assertEqual([(e["event"], e["step"]) for e in a], [(e["event"], e["step"]) for e in b])
        for x, y in zip(a, b):
            for key in {"loss", "log_loss"} & set(x):
                self.assertLessEqual(abs(x[key] - y[key]), TOLERANCE * max(1.0, abs(x[key])), (x, y))

    def compare(self, name, n, *words):
        for ranks, output in ((1, f"{name}-one"), (n, f"{name}-many")):
            self.run_ranks(ranks, *words, "--output", self.path(output), "--quiet")
        self.same_course(f"{name}-one", f"{name}-many")
        self.assertEqual(sorted(os.listdir(self.path(f"{name}-one"))), sorted(os.listdir(self.path(f"{name}-many"))))

    def test_the_losses_are_those_of_one_process(self):
        how = ["--epochs", "2", "--batch", "7", "--accumulate", "2", "--dropout", "0.2", "--class-weights", "sqrt", "--ema", "0.9", "--average", "2"]
        self.compare("bert", 3, *self.words("tiny-bert", "", *how))
        self.compare("mpnet", 2, *self.words("tiny-mpnet", "", "--max-steps", "12", "--batch", "16", "--dropout", "0.2"))

    def test_adapters(self):
        for model in ("tiny-bert", "tiny-mpnet"):
            self.compare(model, 2, *self.words(model, "", "--lora", "--lora-dropout", "0.3", "--lora-targets", "all-linear", "--max-steps", "12"))

    def test_more_ranks_than_texts(self):
        self.compare("few", 4, *self.words("tiny-bert", "", "--batch", "2", "--max-steps", "8", "--dropout", "0.1"))

    def test_pretraining(self):
        words = ["pretrain", "--model", os.path.join(MODELS, "tiny-bert"), "--input", self.train, "--hold-out", "0.2", "--log-every", "1", "--max-steps",
                 "12", "--eval-every", "5", "--dropout", "0.2"]
        self.compare("words", 2, *words)

    def test_rank_0_alone_speaks(self):
        done = self.run_ranks(2, *self.words("tiny-bert", "o", "--max-steps", "3"), "--json")
        self.assertEqual(json.loads(done.stdout)["output"], self.path("o"))
        self.assertEqual(done.stderr.count("training: "), 1, done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["o", "train.parquet", "valid.parquet"])

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

    def test_weights_are_equal_whoever_resumes(self):
        self.run_ranks(2, *self.words("tiny-bert", "a", "--max-steps", "6"), "--quiet")
        self.run_ranks(1, *self.words("tiny-bert", "b", "--max-steps", "6"), "--quiet")
        one, other = (safetensors.numpy.load_file(os.path.join(self.path(name), "model.safetensors")) for name in "ab")
        for name, value in one.items():
            self.assertLess(abs(value - other[name]).max(), 1e-5, name)


class Missing(FolderTest):
    def test_without_the_module_it_says_what_to_do(self):
        alone = self.path("finch")
        shutil.copy(PROGRAM, alone)
        env = {**ENV, "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}
        done = subprocess.run([alone, "train", "--model", os.path.join(MODELS, "tiny-bert"), "--train", TWEETS, "--valid", TWEETS, "--output",
                               self.path("o")], capture_output=True, timeout=60, env=env, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("libfinch_mpi.so was not found", done.stderr)
        said = subprocess.run([alone, "doctor", "--json", "--model", os.path.join(MODELS, "tiny-bert")], capture_output=True, timeout=60, env=ENV, text=True)
        mpi, = [check for check in json.loads(said.stdout)["checks"] if check["name"] == "MPI"]
        self.assertIn("libfinch_mpi.so was not found", json.dumps(mpi))

    @unittest.skipIf(MISSING, f"{MISSING} (tools/setup.sh test)")
    def test_doctor_names_the_library(self):
        done = finch("doctor", "--json", "--model", os.path.join(MODELS, "tiny-bert"))
        mpi, = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "MPI"]
        self.assertIn("mpirun", json.dumps(mpi))


if __name__ == "__main__":
    unittest.main()
