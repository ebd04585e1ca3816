"""What the tests of training over MPI share: how ranks are started, their journals compared, and why there may be none."""
import json
import os
import shutil
import subprocess

import pyarrow.csv
import pyarrow.parquet as pq

from finch_cli import PROGRAM, SOURCE, FolderTest

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


class RanksTest(FolderTest):
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
