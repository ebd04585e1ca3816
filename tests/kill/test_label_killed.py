"""finch label killed with SIGKILL at random moments and started again until it is done: every tweet gets the provider's own
class or a reason, and the only tweets ever paid for twice are those that were in flight at a kill.

    FINCH_PROOF=full python tests/kill/test_label_killed.py     10,000 tweets and 30 kills, instead of 1,500 and 8
"""
import os
import random
import shutil
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
WORKERS, DEATHS = 4, 2
LEASE_SECONDS = 12  # what two dead workers had taken is free for the others after so long


def in_flight(provider, moment_ms):
    """Texts of requests that had come by then (give or take what the network takes) and were not over."""
    texts = set()
    for came, over in provider.requests().values():
        if came["at_ms"] <= moment_ms + 2000 and (over is None or over["at_ms"] >= moment_ms - 50):
            texts.update(came.get("texts", ()))
    return texts


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

    def start(self, words, env):
        one = subprocess.Popen(words, env=env, stderr=subprocess.PIPE)
        self.running.append(one)
        return one

    def test_kills_at_random_moments(self):
        texts = fleet.tweets(N)
        source, output, state = fleet.write_input(self.folder, texts), f"{self.folder}/labels.csv", f"{self.folder}/state.sqlite"
        with Provider(tls=True, config={"keys": [fleet.KEY], "rules": fleet.faults(0.05), "latency_ms": 150, "jitter_ms": 100}) as provider:
            words, env = fleet.command(provider, source, output, state, "--in-flight", 8, "--batch", 10, *fleet.HASTE), fleet.environment(provider)
            excused, struck = set(), 0
            while struck < KILLS:
                one = self.start(words, env)
                # From before the first request to deep in the run.
                try:
                    one.wait(self.draw.uniform(0.02, 1.2))
                    self.assertEqual(0, one.returncode, one.stderr.read())
                    break
                except subprocess.TimeoutExpired:
                    moment = time.time() * 1000
                    one.kill()
                    one.wait()
                    struck += 1
                    time.sleep(0.1)
                    excused |= in_flight(provider, moment)
            self.assertGreaterEqual(struck, KILLS, "it was done before it was killed so often: the test shows too little")
            done = fleet.run(words, env)
            self.assertEqual(0, done.returncode, done.stderr)
            time.sleep(0.3)
            aside = fleet.check_output(self, output, texts)
            answers = fleet.check_paid_once(self, provider, texts, excused)
            twice = sum(n - 1 for n in answers.values())
            print(f"{N} tweets, {struck} kills: {len(aside)} set aside, {twice} answers paid twice of {len(excused)} in flight at a kill")
            self.assertEqual(set(), aside)

    def test_workers_on_one_postgres_some_killed_and_the_server_restarted(self):
        texts = fleet.tweets(N)
        source = fleet.write_input(self.folder, texts)
        with Postgres() as server, Provider(tls=True, config={"keys": [fleet.KEY], "rules": fleet.faults(0.05), "latency_ms": 200}) as provider:
            state, env = server.url("jobs"), fleet.environment(provider)
            words = [fleet.command(provider, source, f"{self.folder}/{at}.csv", state, "--in-flight", 4, "--batch", 10, "--lease", LEASE_SECONDS, *fleet.HASTE)
                     for at in range(WORKERS)]
            workers = [self.start(one, env) for one in words]
            excused = set()
            for victim in workers[:DEATHS]:
                self.wait_for_answers(provider, len(provider.answers()) + N // 20)
                moment = time.time() * 1000
                victim.kill()
                victim.wait()
                excused |= in_flight(provider, moment)
            self.wait_for_answers(provider, len(provider.answers()) + N // 20)
            self.assertTrue(all(one.poll() is None for one in workers[DEATHS:]), "done before the restart: the test shows too little")
            begin = time.monotonic()
            server.restart()
            # Nobody dies, so nothing is excused: an answer waits for the server to come back. Unless it stayed away for so long
            # that leases ran out.
            if time.monotonic() - begin > LEASE_SECONDS / 2:
                excused |= in_flight(provider, time.time() * 1000 - 1000 * (time.monotonic() - begin))
            for one in workers[DEATHS:]:
                _, errors = one.communicate(timeout=300)
                self.assertEqual(0, one.returncode, errors)
            time.sleep(0.3)
            for at in range(DEATHS, WORKERS):
                self.assertEqual(set(), fleet.check_output(self, f"{self.folder}/{at}.csv", texts))
            answers = fleet.check_paid_once(self, provider, texts, excused)
            used = {came["id"] for came, _ in provider.requests().values()}
            print(f"{N} tweets, {WORKERS} workers, {DEATHS} killed, PostgreSQL restarted: {len(used)} requests, "
                  f"{sum(n - 1 for n in answers.values())} answers paid twice of {len(excused)} in flight at a kill")

    def wait_for_answers(self, provider, n, seconds=60):
        end = time.monotonic() + seconds
        while len(provider.answers()) < n:
            self.assertLess(time.monotonic(), end, "the workers got nowhere")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
