"""PostgreSQL away for longer than a whole answer may take: what is in flight meanwhile comes in and waits for the store, so no
answer is lost to a time-out of ours and none is paid for twice; then the run goes on by itself."""
import shutil
import subprocess
import tempfile
import time
import unittest

import fleet
from postgres import Postgres
from provider import Provider

AWAY_SECONDS, ANSWER_SECONDS = 6, 3


class Outage(unittest.TestCase):
    def test_a_store_that_is_away_holds_up_no_answer(self):
        folder = tempfile.mkdtemp(prefix="finch-outage-")
        self.addCleanup(shutil.rmtree, folder, True)
        texts = fleet.tweets(360)
        source, output = fleet.write_input(folder, texts), f"{folder}/labels.csv"
        with Postgres() as server, Provider(tls=True, config={"keys": [fleet.KEY], "latency_ms": 1000}) as provider:
            words = fleet.command(provider, source, output, server.url("jobs"), "--in-flight", 6, "--batch", 10, "--timeout", ANSWER_SECONDS,
                                  "--first-byte-timeout", ANSWER_SECONDS, "--json")
            running = subprocess.Popen(words, env=fleet.environment(provider), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(running.kill)
            end = time.monotonic() + 60
            while len(provider.answers()) < 60 and time.monotonic() < end:
                time.sleep(0.02)
            server.stop()
            at_stop = len(provider.requests())
            time.sleep(AWAY_SECONDS)
            over = [out for _, out in provider.requests().values()]
            self.assertEqual(len(over), sum(out is not None and out["delivered"] for out in over), "an answer was not taken while the store was away")
            # What was journalled in time was still sent; nothing goes out that is not in the journal.
            self.assertLessEqual(len(over) - at_stop, 2 * 6)
            self.assertIsNone(running.poll())
            server.start()
            out, errors = running.communicate(timeout=120)
            self.assertEqual(0, running.returncode, errors)
            self.assertEqual(set(), fleet.check_output(self, output, texts))
            self.assertEqual(set(texts), set(provider.answers()))
            self.assertEqual({1}, set(provider.answers().values()), "paid for twice")
            self.assertEqual(36, len(provider.requests()))
            self.assertNotIn(b"timeout", out)


if __name__ == "__main__":
    unittest.main()
