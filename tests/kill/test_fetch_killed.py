"""SIGKILL at random moments of finch fetch, twenty times on one cache: it ends with the right bytes and nothing else."""
import os
import random
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "hub")]
from hubtest import command, environment, fetch_json, folder, strays, tree  # noqa: E402
from stand_in import Repo, StandIn  # noqa: E402

KILLS = 20
WORDS = ("--part-size", 200_000, "--connections", 4, "--json")


class Killed(unittest.TestCase):
    def test_it_ends_with_the_right_bytes(self):
        draw = random.Random(20261127)
        files = {f"folder-{i % 3}/file-{i}.txt": draw.randbytes(draw.randint(1, 40_000)) for i in range(20)} | {"empty": b""}
        repo = Repo("own/er", files, {"a.safetensors": draw.randbytes(1_500_000), "b.safetensors": draw.randbytes(700_000)})
        hub = StandIn(bytes_per_second=100_000)  # a connection
        hub.add(repo)
        home, clean = folder(self), folder(self)
        seen = set()
        killed = 0
        with hub:
            for _ in range(400):
                if killed == KILLS:
                    break
                # Some die while asking, some while fetching; those that end, or die behind their last write, are no kill.
                running = subprocess.Popen(command("own/er", *WORDS), env=environment(hub, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                # Two of three are let come to the large files first, however slow the machine is today.
                n_before = len(hub.requests("cdn"))
                come = draw.random() < 0.67
                while come and running.poll() is None and len(hub.requests("cdn")) == n_before:
                    time.sleep(0.01)
                time.sleep(draw.uniform(0, 0.4))
                running.kill()
                if running.wait() == 0 or os.path.exists(os.path.join(home, "hub", "models--own--er", "refs", "main")):
                    subprocess.run(["rm", "-rf", os.path.join(home, "hub")], check=True)
                    continue
                killed += 1
                for name, what in tree(home).items():
                    if "/blobs/" in name and not name.endswith(".incomplete"):
                        self.assertIn(what[2], (*repo.files.values(), *repo.lfs.values()), f"{name} has its name and not its content")
                    seen.add("incomplete" if name.endswith(".incomplete") else "")
            self.assertEqual(killed, KILLS)
            self.assertIn("incomplete", seen, "no run was killed in the middle of a file; the test shows nothing")
            hub.bytes_per_second = 0
            fetch_json(hub, home, "own/er", *WORDS[:-1])
            result = fetch_json(hub, home, "own/er", "--verify")
            fetch_json(hub, clean, "own/er")
            self.assertEqual(result["from_cache"], len(files) + 2)
            self.assertEqual(strays(home), [])
            self.assertEqual(tree(home), tree(clean))


if __name__ == "__main__":
    unittest.main()
