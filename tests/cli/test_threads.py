"""Waiting threads give their core away: training starts itself anew with a setting that OpenMP's runtime reads when it is loaded."""
import os
import subprocess
import tempfile
import unittest

from finch_cli import PROGRAM, SOURCE

TRAIN_ROWS, VALID_ROWS = (os.path.join(SOURCE, "data", "fintweets5", name) for name in ("train.csv", "valid.csv"))
MODEL = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def settings_while_running(*words, **more):
    """The settings in the environment of the process once it has begun to write its progress."""
    env = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    with tempfile.TemporaryDirectory() as place:
        command = [PROGRAM, *words, "--output", os.path.join(place, "out")]
        process = subprocess.Popen(command, env={**env, **more}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=place)
        try:
            process.stderr.read(1)
            with open(f"/proc/{process.pid}/environ", "rb") as file:
                entries = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
    return {key: entries[key.encode()].decode() for key in SETTINGS if key.encode() in entries}


TRAIN = ("train", "--model", MODEL, "--train", TRAIN_ROWS, "--valid", VALID_ROWS, "--epochs", "1000")


class Waiting(unittest.TestCase):
    def test_training_spins_briefly(self):
        self.assertEqual(settings_while_running(*TRAIN), {"GOMP_SPINCOUNT": "2000"})

    def test_what_the_user_set_stays(self):
        self.assertEqual(settings_while_running(*TRAIN, OMP_WAIT_POLICY="active"), {"OMP_WAIT_POLICY": "active"})
        self.assertEqual(settings_while_running(*TRAIN, GOMP_SPINCOUNT="7"), {"GOMP_SPINCOUNT": "7"})


if __name__ == "__main__":
    unittest.main()
