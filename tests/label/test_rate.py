"""The rate that was asked for, measured at the provider over every window of one second; and what 429s, clock skew and
broken keys do to it."""
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import fleet
from provider import Provider


class SlowDoor:
    """Hands connections on to a port of this machine, each after a while: what is far away takes so long to connect."""

    def __init__(self, port, seconds):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port, self.to, self.seconds, self.n = self.server.getsockname()[1], port, seconds, 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                here, _ = self.server.accept()
            except OSError:
                return
            self.n += 1
            threading.Thread(target=self.hand_on, args=(here,), daemon=True).start()

    def hand_on(self, here):
        time.sleep(self.seconds)
        with here, socket.create_connection(("127.0.0.1", self.to)) as there:
            there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self.copy, args=(there, here), daemon=True)
            back.start()
            self.copy(here, there)
            back.join()

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side has gone

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Rate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-pace-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def label(self, provider, texts, *more, env=None, state="state.sqlite", status=0, name="tweets.csv"):
        source, output = fleet.write_input(self.folder, texts, name), f"{self.folder}/{name}.labels.csv"
        done = fleet.run(fleet.command(provider, source, output, f"{self.folder}/{state}", *more), env or fleet.environment(provider), timeout=120)
        self.assertEqual(status, done.returncode, done.stderr)
        return output, done

    def test_never_more_than_the_rate_in_any_second(self):
        for rpm, n in ((600, 60), (3000, 250)):
            texts = fleet.tweets(n, seed=rpm)
            # Faults make retries and single questions: they count too.
            rules = [{"fault": "status", "status": 500, "every": 9}, {"fault": "unknown_class", "every": 11}]
            with Provider(tls=True, config={"rules": rules, "latency_ms": 50}) as provider:
                begin = time.monotonic()
                output, _ = self.label(provider, texts, "--rpm", rpm, "--batch", 2, *fleet.HASTE, state=f"{rpm}.sqlite")
                seconds = time.monotonic() - begin
                self.assertEqual(set(), fleet.check_output(self, output, texts))
                most, requests = provider.most_in_a_second(), len(provider.requests())
                late = provider.counts()["lag_ms"] / 1000
                print(f"--rpm {rpm}: {requests} requests in {seconds:.1f} s, at most {most} in a second (the stand-in up to {late:.3f} s late)")
                self.assertLessEqual(most, rpm // 60)
                # A machine that is so busy is slower than any limit.
                if late < 0.1:
                    self.assertGreater(provider.most_in(1.0), rpm // 60 * 0.7, "far below the rate that was allowed")

    def test_requests_that_waited_for_a_connection_do_not_leave_together(self):
        texts = fleet.tweets(60)
        # Every 13th request takes the connection away from all of its fellows: a new one is made in the middle, slowly.
        with Provider(tls=True, config={"rules": [{"fault": "close", "every": 13}], "latency_ms": 50}) as provider, SlowDoor(provider.port, 0.5) as door:
            provider.url = f"https://127.0.0.1:{door.port}/v1"
            output, _ = self.label(provider, texts, "--rpm", 600, "--batch", 2, *fleet.HASTE)
            self.assertEqual(set(), fleet.check_output(self, output, texts))
            self.assertGreater(door.n, 1, "no connection was made in the middle")
            self.assertLessEqual(provider.most_in_a_second(), 10)

    def test_the_first_connection_is_made_without_a_key(self):
        with Provider(tls=True) as provider:
            self.label(provider, fleet.tweets(3))
            begun = [line for line in provider.read_ledger() if line["event"] == "models"]
            self.assertEqual([("HEAD", False)], [(line["method"], line["authorized"]) for line in begun])

    def test_each_of_three_keys_has_its_own_rate(self):
        texts = fleet.tweets(90)
        keys = {f"OPENROUTER_API_KEY_{at}": f"{fleet.KEY}-{at}" for at in (1, 2, 3)}
        with Provider(config={"keys": list(keys.values()), "latency_ms": 20}) as provider:
            output, _ = self.label(provider, texts, "--rpm", 600, "--batch", 1, *fleet.HASTE,
                                   env=fleet.environment(provider, key=None, **keys))
            self.assertEqual(set(), fleet.check_output(self, output, texts))
            used = {came["key"] for came, _ in provider.requests().values()}
            self.assertEqual(3, len(used))
            for key in used:
                self.assertLessEqual(provider.most_in_a_second(key), 10)
            self.assertGreater(provider.most_in(1.0), 15, "three keys were no faster than two")

    def test_several_processes_on_one_store_share_a_keys_rate(self):
        texts = fleet.tweets(60)
        source = fleet.write_input(self.folder, texts)
        with Provider(config={"keys": [fleet.KEY], "latency_ms": 20}) as provider:
            words = [fleet.command(provider, source, f"{self.folder}/{at}.csv", f"{self.folder}/state.sqlite", "--rpm", 600, "--batch", 2, *fleet.HASTE)
                     for at in range(3)]
            running = [subprocess.Popen(one, env=fleet.environment(provider), stderr=subprocess.PIPE) for one in words]
            for one in running:
                _, errors = one.communicate(timeout=60)
                self.assertEqual(0, one.returncode, errors)
            for at in range(3):
                self.assertEqual(set(), fleet.check_output(self, f"{self.folder}/{at}.csv", texts))
            fleet.check_paid_once(self, provider, texts)
            self.assertLessEqual(provider.most_in_a_second(), 10)

    def test_retry_after_is_kept_also_by_a_clock_that_is_wrong(self):
        for skew, afters in ((0, (2, {"date": 2})), (-7200, ({"date": 2},)), (7200, ({"date": 2},))):
            for after in afters:
                texts = fleet.tweets(40, seed=skew)
                rules = [{"fault": "status", "status": 429, "retry_after": after, "first": 1}]
                with Provider(config={"keys": [fleet.KEY], "rules": rules, "date_offset_s": skew}) as provider:
                    begin = time.monotonic()
                    name = f"{skew}{isinstance(after, dict)}"
                    output, _ = self.label(provider, texts, "--in-flight", 1, "--batch", 20, state=f"{name}.sqlite", name=f"{name}.csv")
                    seconds = time.monotonic() - begin
                    self.assertEqual(set(), fleet.check_output(self, output, texts))
                    times = sorted(came["at_ms"] for came, _ in provider.requests().values())
                    # A date has whole seconds.
                    self.assertGreaterEqual(times[1] - times[0], 950 if isinstance(after, dict) else 1950, (skew, after))
                    self.assertLess(seconds, 10, (skew, after))

    def test_a_strict_provider_is_not_run_against_a_wall(self):
        """Without --rpm: the provider's own limit of 20 a second is found out, and few requests are wasted."""
        texts = fleet.tweets(120)
        with Provider(config={"keys": [fleet.KEY], "limits": {"requests_per_second": 20}, "latency_ms": 50}) as provider:
            output, _ = self.label(provider, texts, "--batch", 2, *fleet.HASTE)
            self.assertEqual(set(), fleet.check_output(self, output, texts))
            counts = provider.counts()["counts"]
            print(f"a limit of 20 a second: {counts}")
            self.assertLess(counts.get("limit", 0), counts["good"], "more requests were refused than answered")

    def test_a_revoked_key_is_left_and_the_others_go_on(self):
        texts = fleet.tweets(200)
        keys = {f"OPENROUTER_API_KEY_{at}": f"{fleet.KEY}-{at}" for at in (1, 2)}
        with Provider(config={"keys": list(keys.values()), "revoked": [f"{fleet.KEY}-1"]}) as provider:
            output, done = self.label(provider, texts, *fleet.HASTE, env=fleet.environment(provider, key=None, **keys))
            self.assertEqual(set(), fleet.check_output(self, output, texts))
            refused = sum(1 for _, out in provider.requests().values() if out["status"] == 401)
            self.assertTrue(1 <= refused <= 32, refused)

    def test_no_key_left_stops_cleanly_and_goes_on_later(self):
        texts = fleet.tweets(300)
        with Provider(config={"keys": [fleet.KEY], "latency_ms": 30}) as provider:
            provider.configure(rules=[{"fault": "revoked", "after": 5}])
            output, done = self.label(provider, texts, "--in-flight", 2, *fleet.HASTE, status=4)
            self.assertIn("key", done.stderr)
            self.assertNotIn(fleet.KEY, done.stderr)
            paid = provider.answers()
            self.assertEqual(100, len(paid))
            provider.configure(rules=[])
            output, _ = self.label(provider, texts, *fleet.HASTE)
            self.assertEqual(set(), fleet.check_output(self, output, texts))
            fleet.check_paid_once(self, provider, texts)

    def test_a_provider_that_wants_a_long_rest_is_left_and_when_to_come_back_is_said(self):
        keys = {f"OPENROUTER_API_KEY_{at}": f"{fleet.KEY}-{at}" for at in (1, 2)}
        with Provider(config={"keys": list(keys.values()), "rules": [{"fault": "status", "status": 429, "retry_after": 900}]}) as provider:
            begin = time.monotonic()
            _, done = self.label(provider, fleet.tweets(40), "--in-flight", 2, "--give-up", 60, env=fleet.environment(provider, key=None, **keys), status=4)
            self.assertLess(time.monotonic() - begin, 30)
            self.assertRegex(done.stderr, r"come back in (8[89]\d|900) s")
            self.assertEqual({429}, {out["status"] for _, out in provider.requests().values()})
            self.assertEqual(2, len({came["key"] for came, _ in provider.requests().values()}), "a key was not tried")

    def test_a_dead_provider_stops_the_run_with_4(self):
        texts = fleet.tweets(40)
        with Provider(config={"rules": [{"fault": "status", "status": 503}]}) as provider:
            _, done = self.label(provider, texts, "--give-up", 2, status=4)
            self.assertIn("503", done.stderr)
            self.assertLess(len(provider.requests()), 60, "a dead provider was hammered")


if __name__ == "__main__":
    unittest.main()
