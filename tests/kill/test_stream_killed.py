"""SIGKILL at random moments of the members of a group: no message is lost, and one comes out twice only with the same id and the
same answer. FINCH_PROOF=full: 200,000 tweets; else a few thousand."""
import json
import os
import random
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stream"))
from brokers import PROGRAM, TINY, NatsServer, RedisServer  # noqa: E402

FULL = os.environ.get("FINCH_PROOF", "") == "full"
TWEETS = 200000 if FULL else 4000
KILLS = 200 if FULL else 12  # at least
MEMBERS = 3
LIVES = (0.3, 6.0) if FULL else (0.1, 0.5)  # seconds from start to SIGKILL
PATIENCE = 5400 if FULL else 300


class Cases:
    server = None

    def begin(self, name, *more):
        return subprocess.Popen([PROGRAM, "stream", "--model", TINY, "--broker", self.broker.url, "--input", self.broker.input, "--output",
                                 self.broker.output, "--consumer", name, "--ack-wait-s", "3" if FULL else "1", "--max-deliveries", "1000",
                                 "--threads", "1", "--quiet", "--batch", "64" if FULL else "16", "--in-flight", "256" if FULL else "48",
                                 *self.broker.words, *more], stderr=subprocess.PIPE)

    def live_and_die(self, seed):
        """A member that is killed and started again under another name, until nothing is left to do."""
        draw = random.Random(seed)
        while not self.over.is_set():
            member = self.begin(f"member-{seed}-{self.killed[seed]}")
            try:
                member.wait(draw.uniform(*LIVES))
                self.surprises.append(member.communicate()[1])
                return
            except subprocess.TimeoutExpired:
                member.kill()
                member.communicate()
                self.killed[seed] += 1

    def test_none_is_lost(self):
        self.broker = self.server()
        self.addCleanup(self.broker.close)
        self.killed, self.surprises, self.over = [0] * MEMBERS, [], threading.Event()
        self.addCleanup(self.over.set)
        threads = [threading.Thread(target=self.live_and_die, args=(seed,)) for seed in range(MEMBERS)]
        ids, until = [], time.monotonic() + PATIENCE
        for thread in threads:
            thread.start()
        for begin in range(0, TWEETS, 500):
            ids += self.broker.publish([{"tweet_id": i, "body": f"$AAPL is {i} % up"} for i in range(begin, begin + 500)])
            while sum(self.killed) < KILLS * begin // TWEETS and not self.surprises:
                time.sleep(0.02)
        while self.broker.n_outputs() < TWEETS and time.monotonic() < until and not self.surprises:
            time.sleep(0.05)
        self.over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(self.surprises, [], "a member ended by itself")
        last = self.begin("last", "--until-empty")
        _, said = last.communicate(timeout=PATIENCE)
        self.assertEqual(last.returncode, 0, said)
        self.check(ids)

    def check(self, ids):
        outputs = self.broker.outputs()
        answers = {}
        for id, row in outputs:
            self.assertEqual(answers.setdefault(id, row), row, "two answers under one id")
        self.assertEqual(sorted(id.rsplit("@", 1)[0] for id in answers), sorted(ids))
        self.assertEqual(sorted(row["tweet_id"] for row in answers.values()), list(range(TWEETS)))
        self.assertEqual((self.broker.pending(), self.broker.dead_letters()), (0, []))
        print(json.dumps({"broker": self.server.__name__, "tweets": TWEETS, "killed": sum(self.killed),
                          "twice": len(outputs) - len(answers)}), file=sys.stderr)
        self.assertEqual(len(outputs), len(answers), "some came twice")


class Nats(Cases, unittest.TestCase):
    server = NatsServer


class Redis(Cases, unittest.TestCase):
    server = RedisServer


if __name__ == "__main__":
    unittest.main()
