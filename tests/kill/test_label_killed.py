"""finch label killed with SIGKILL at random moments and started again until it is done: every tweet gets the provider's own
class or a reason, and the only tweets ever paid for twice are those that were in flight at a kill.

    FINCH_PROOF=full python tests/kill/test_label_killed.py     10,000 tweets and 30 kills, instead of 1,500 and 8
"""
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "label"))
import fleet  # noqa: E402
from postgres import Postgres  # noqa: E402
from provider import Provider  # noqa: E402

N, KILLS = (10000, 30) if fleet.FULL else (1500, 8)
IN_FLIGHT = 8
WORKERS, DEATHS = 4, 2
# Windows of requests that the journal may call open: those in flight, those answered since the last commit began, those
# written ahead of their time. The last were never sent: the provider does not know of them.
JOURNALLED = 3
PATIENCE = ("--backoff", "0.05", "--attempts", "8")
PATIENCE_SECONDS = 300  # with a machine that has other work
AWAY_SECONDS_MOST = 35  # of PostgreSQL; leases of 60 seconds, renewed after 20, outlive it


def hashes_of(journal):
    """Of the journal's lists of items, as the store has them."""
    return {text for items in journal for text in json.loads(items)}


def texts_with(texts, hashes):
    return {text for text in texts if hashlib.sha256(text.encode()).hexdigest()[:32] in hashes}


class Killed(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-label-kill-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.draw = random.Random(fleet.SEED)
        self.running = []
        self.addCleanup(self.end_all)

    def end_all(self):
        for one in self.running:
            if one.poll() is None:
                one.kill()
            one.wait()
            one.stderr.close()

    def open_requests(self, state):
        """What the store's journal calls in flight: the items of requests that were sent, or are about to be, and not over."""
        if not os.path.exists(state):
            return []
        with sqlite3.connect(state, timeout=20) as db:
            if db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'label_request'").fetchone()[0] == 0:
                return []
            return [items for items, in db.execute("SELECT items FROM label_request WHERE ended IS NULL")]

    def start(self, words, env):
        one = subprocess.Popen(words, env=env, stderr=subprocess.PIPE)
        self.running.append(one)
        return one

    def lives_on(self, one, provider, struck):
        """Waits for the moment of a kill: every fourth is by the clock, from before the first request on; the others come while
        requests are in flight, however slow the machine. False where the run was done before."""
        if struck % 4 == 0:
            time.sleep(self.draw.uniform(0.02, 0.5))
            return one.poll() is None
        enough, end = provider.counts()["requests"] + self.draw.randrange(1, 10), time.monotonic() + PATIENCE_SECONDS
        while one.poll() is None and provider.counts()["requests"] < enough:
            self.assertLess(time.monotonic(), end, "the run got nowhere")
            time.sleep(0.02)
        time.sleep(self.draw.uniform(0, 0.1))
        return one.poll() is None

    def test_kills_at_random_moments(self):
        texts = fleet.tweets(N)
        source, output, state = fleet.write_input(self.folder, texts), f"{self.folder}/labels.csv", f"{self.folder}/state.sqlite"
        with Provider(tls=True, config={"keys": [fleet.KEY], "rules": fleet.faults(0.05, silent=False), "latency_ms": 300 if fleet.FULL else 150, "jitter_ms": 100}) as provider:
            words, env = fleet.command(provider, source, output, state, "--in-flight", IN_FLIGHT, "--batch", 10, *PATIENCE), fleet.environment(provider)
            excused, struck = set(), 0
            while struck < KILLS:
                one = self.start(words, env)
                if not self.lives_on(one, provider, struck):
                    self.assertEqual(0, one.returncode, one.stderr.read())
                    break
                one.kill()
                one.wait()
                struck += 1
                journal = self.open_requests(state)
                excused |= texts_with(texts, hashes_of(journal)) & set(provider.asked())
                self.assertLessEqual(len(journal), JOURNALLED * IN_FLIGHT)
            self.assertGreaterEqual(struck, KILLS, "it was done before it was killed so often: the test shows too little")
            done = fleet.run(words, env)
            self.assertEqual(0, done.returncode, done.stderr)
            time.sleep(0.3)
            aside = fleet.check_output(self, output, texts)
            answers = fleet.check_paid_once(self, provider, texts, excused)
            twice = sum(n - 1 for n in answers.values())
            self.assertGreater(len(excused), 0, "no request was in flight at any kill: the test shows too little")
            print(f"{N} tweets, {struck} kills: {len(aside)} set aside, {twice} answers paid twice of {len(excused)} in flight at a kill")
            self.assertEqual(set(), aside)

    def test_workers_on_one_postgres_some_killed_and_the_server_restarted(self):
        texts = fleet.tweets(N)
        source = fleet.write_input(self.folder, texts)
        with Postgres() as server, Provider(tls=True, config={"keys": [fleet.KEY], "rules": fleet.faults(0.05, silent=False), "latency_ms": 200}) as provider:
            state, env = server.url("jobs"), fleet.environment(provider)
            words = [fleet.command(provider, source, f"{self.folder}/{at}.csv", state, "--in-flight", 4, "--batch", 10, *PATIENCE)
                     for at in range(WORKERS)]
            workers = [self.start(one, env) for one in words]
            excused = set()
            for victim in workers[:DEATHS]:
                self.wait_for_answers(provider, len(provider.answers()) + N // 20)
                victim.kill()
                victim.wait()
                journal = [row[0] for row in server.query("jobs", "SELECT items FROM label_request WHERE ended IS NULL AND "
                                                          f"owner LIKE '%/{victim.pid}/%'")]
                excused |= texts_with(texts, hashes_of(journal)) & set(provider.asked())
                self.assertLessEqual(len(journal), JOURNALLED * 4)
            # One in their place finds that they are dead and takes over what they had, long before their leases run out.
            words.append(fleet.command(provider, source, f"{self.folder}/{WORKERS}.csv", state, "--in-flight", 4, "--batch", 10, *PATIENCE))
            workers.append(self.start(words[-1], env))
            self.wait_for_requests_of(server, workers[-1])
            self.wait_for_answers(provider, len(provider.answers()) + N // 20)
            self.assertTrue(all(one.poll() is None for one in workers[DEATHS:]), "done before the restart: the test shows too little")
            begin = time.monotonic()
            server.restart()
            # Nobody dies, so nothing is excused: an answer waits for the server to come back.
            self.assertLess(time.monotonic() - begin, AWAY_SECONDS_MOST, "PostgreSQL took so long that leases ran out: the test shows nothing")
            for one in workers[DEATHS:]:
                _, errors = one.communicate(timeout=2 * PATIENCE_SECONDS)
                self.assertEqual(0, one.returncode, errors)
            time.sleep(0.3)
            for at in range(DEATHS, WORKERS + 1):
                self.assertEqual(set(), fleet.check_output(self, f"{self.folder}/{at}.csv", texts))
            answers = fleet.check_paid_once(self, provider, texts, excused)
            used = {came["id"] for came, _ in provider.requests().values()}
            print(f"{N} tweets, {WORKERS} workers, {DEATHS} killed, PostgreSQL restarted: {len(used)} requests, "
                  f"{sum(n - 1 for n in answers.values())} answers paid twice of {len(excused)} in flight at a kill")

    def wait_for_requests_of(self, server, worker):
        """Until it has come into the store: a server that is not there when a command begins is an error, not a loss to be survived."""
        begin = time.monotonic()
        while not server.query("jobs", f"SELECT 1 FROM label_request WHERE owner LIKE '%/{worker.pid}/%' LIMIT 1"):
            self.assertIsNone(worker.poll(), "it ended before it asked anything")
            self.assertLess(time.monotonic() - begin, PATIENCE_SECONDS, "it asked nothing")
            time.sleep(0.02)

    def wait_for_answers(self, provider, n):
        end = time.monotonic() + PATIENCE_SECONDS
        while len(provider.answers()) < n:
            self.assertLess(time.monotonic(), end, "the workers got nowhere")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
