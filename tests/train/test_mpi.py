"""finch train and finch pretrain by several processes over MPI: the losses are those of one process, rank 0 alone writes and speaks, and
without the module finch says what is missing."""
import json
import os
import shutil
import subprocess
import sys
import unittest

import safetensors.numpy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from finch_cli import PROGRAM, FolderTest, finch  # noqa: E402
from mpi_case import ENV, LAUNCH, MISSING, MODELS, MODULE, TWEETS, RanksTest  # noqa: E402


@unittest.skipIf(MISSING, f"{MISSING} (tools/setup.sh test)")
class Together(RanksTest):
    def test_the_losses_are_those_of_one_process(self):
        how = ["--epochs", "2", "--batch", "7", "--accumulate", "2", "--dropout", "0.2", "--class-weights", "sqrt", "--ema", "0.9", "--average", "2"]
        self.compare("bert", 3, *self.words("tiny-bert", "", *how))
        self.compare("mpnet", 2, *self.words("tiny-mpnet", "", "--max-steps", "12", "--batch", "16", "--dropout", "0.2"))

    def test_adapters(self):
        for model in ("tiny-bert", "tiny-mpnet"):
            self.compare(model, 2, *self.words(model, "", "--lora", "--lora-dropout", "0.3", "--lora-targets", "all-linear", "--max-steps", "12"))

    def gemma(self):
        folder = self.path("gemma")
        shutil.copytree(os.path.join(MODELS, "tiny-gemma"), folder)
        with open(os.path.join(MODELS, "tiny-bert", "vocab.txt"), encoding="utf-8") as words, open(os.path.join(folder, "vocab.txt"), "w",
                                                                                                  encoding="utf-8") as some:
            some.writelines(words.readlines()[:300])
        return folder

    def test_a_gemma(self):
        self.compare("gemma-whole", 3, *self.words(self.gemma(), "", "--batch", "7", "--accumulate", "2", "--max-steps", "8", "--max-tokens", "32"))

    def test_adapters_of_a_gemma(self):
        self.compare("gemma-out", 2, *self.words(self.gemma(), "", "--lora", "--lora-dropout", "0.3", "--lora-targets", "all-linear", "--checkpoint-activations",
                                                 "--max-steps", "8", "--max-tokens", "32"))

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

    def test_weights_are_equal_whoever_resumes(self):
        self.run_ranks(2, *self.words("tiny-bert", "a", "--max-steps", "6"), "--quiet")
        self.run_ranks(1, *self.words("tiny-bert", "b", "--max-steps", "6"), "--quiet")
        one, other = (safetensors.numpy.load_file(os.path.join(self.path(name), "model.safetensors")) for name in "ab")
        for name, value in one.items():
            self.assertLess(abs(value - other[name]).max(), 1e-5, name)


# A rank that begins a sum and then calls nothing: the table of train/ranks.h through ctypes. It waits for the sum's last value to change.
WAITING_RANK = """
import ctypes, sys, time

class Table(ctypes.Structure):
    call = ctypes.CFUNCTYPE
    _fields_ = [("version", ctypes.c_int), ("open", call(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)),
                ("begin", call(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)), ("poll", call(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)),
                ("sum", call(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)), ("close", call(ctypes.c_int, ctypes.c_char_p))]

table = Table.in_dll(ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL), "finch_mpi_table")
n, why = 1 << 21, ctypes.create_string_buffer(512)
rank, ranks, done = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_int()
values = (ctypes.c_float * n)(*([1.0] * n))
assert table.open(ctypes.byref(rank), ctypes.byref(ranks), why) == 0, why.value
assert table.begin(values, n, why) == 0, why.value
given_up = time.monotonic() + 60
while (values[0], values[n // 2], values[n - 1]) != (2.0, 2.0, 2.0) and time.monotonic() < given_up:
    time.sleep(0.01)
print("went on" if values[n - 1] == 2.0 else "waited for a call", flush=True)
while not done.value:
    assert table.poll(ctypes.byref(done), why) == 0, why.value
assert table.close(why) == 0, why.value
"""


@unittest.skipIf(MISSING, f"{MISSING} (tools/setup.sh test)")
class GoingOn(FolderTest):
    def test_a_sum_goes_on_while_the_ranks_compute(self):
        over_tcp = ["--mca", "btl", "tcp,self"]
        done = subprocess.run([*LAUNCH, "2", *over_tcp, sys.executable, "-c", WAITING_RANK, MODULE], capture_output=True, timeout=180, env=ENV, text=True)
        self.assertEqual((done.returncode, done.stdout.split("\n")), (0, ["went on", "went on", ""]), done.stderr)


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
