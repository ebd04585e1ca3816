"""What goes wrong around a server: its store lost in the middle, hostile clients by the thousand, everything at once. FINCH_PROOF=full
takes a minute of random streams instead of two seconds."""
import errno
import http.client
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from finch_server import MPNET, PROGRAM, PROOF, SOURCE, TINY, Server
from test_market import Listener, wait_for

sys.path.insert(0, os.path.join(SOURCE, "tests", "provider"))
from postgres import Postgres  # noqa: E402

CSV = "body\n" + "".join(f"some text {i}\n" for i in range(200))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class StoreTest(unittest.TestCase):
    def kept(self, server, ticker):
        return server.get(f"/api/v1/sentiment?ticker={ticker}").data["total"]["count"]

    def upload(self, server):
        return server.request("POST", "/api/v1/batches", CSV, {"Content-Type": "text/csv"})

    def go_through(self, server, ticker, lose, find):
        """Predictions before, while the store is lost and after; every one of them, and every job that was acknowledged, is there in the end."""
        jobs = [self.upload(server).data["id"]]
        self.assertEqual(server.predict(texts=[f"${ticker} before {i}" for i in range(20)]).status, 200)
        self.assertTrue(wait_for(lambda: self.kept(server, ticker) == 20))
        lose()
        for i in range(30):
            self.assertEqual(server.predict(text=f"${ticker} meanwhile {i}").status, 200)
        self.assertTrue(wait_for(lambda: server.get("/ready").status == 503, 60))
        self.assertIn("store", server.get("/ready").error["message"])
        self.assertEqual(server.get("/health").status, 200)
        made = self.upload(server)
        if made.status == 202:
            jobs.append(made.data["id"])
        else:
            self.assertEqual((made.status, made.json["success"]), (503, False), made.body)
        for i in range(30):
            self.assertEqual(server.predict(text=f"${ticker} still {i}").status, 200)
        find()
        self.assertTrue(wait_for(lambda: server.get("/ready").status == 200, 60))
        self.assertTrue(wait_for(lambda: self.kept(server, ticker) == 80, 60), self.kept(server, ticker))
        for job in jobs:
            self.assertTrue(wait_for(lambda: server.get(f"/api/v1/batches/{job}").data["state"] == "done", 60), server.get(f"/api/v1/batches/{job}").body)
        self.assertEqual(server.metric("finch_history_lost_total"), 0)
        self.assertEqual(server.stop(), 0)


class PostgresStopped(StoreTest):
    def test_predictions_go_on_and_nothing_is_lost(self):
        with Postgres() as postgres:
            server = Server("--keep-predictions", env={"FINCH_STATE": postgres.url("serve")})
            self.addCleanup(server.remove)
            self.go_through(server, "PGS", postgres.stop, postgres.start)


class DiskFull(StoreTest):
    def test_predictions_go_on_and_nothing_is_lost(self):
        """The store lies on a small file system of the server's own."""
        inside = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
        if shutil.which("unshare") is None or subprocess.run([*inside, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True).returncode != 0:
            self.skipTest("no file system can be mounted here")
        folder = tempfile.mkdtemp(prefix="finch-full-")
        self.addCleanup(shutil.rmtree, folder, True)
        wrapper = os.path.join(folder, "finch")
        place = os.path.join(folder, "small")
        os.mkdir(place)
        with open(wrapper, "w") as file:
            file.write(f"#!/bin/sh\nexec {' '.join(inside)} sh -c 'mount -t tmpfs -o size=6m tmpfs {place} && exec {PROGRAM} \"$@\"' finch \"$@\"\n")
        os.chmod(wrapper, 0o755)
        server = Server("--keep-predictions", "--batch-folder", os.path.join(folder, "batches"), env={"FINCH_STATE": os.path.join(place, "s.sqlite")},
                        program=wrapper)
        self.addCleanup(server.remove)
        filler = f"/proc/{server.process.pid}/root{place}/filler"

        def lose():
            with open(filler, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError as why:
                    self.assertEqual(why.errno, errno.ENOSPC)
        self.go_through(server, "FUL", lose, lambda: os.unlink(filler))


class Hostile(unittest.TestCase):
    def setUp(self):
        self.server = Server("--header-seconds", 2, "--max-connections", 12000)
        self.addCleanup(self.server.remove)

    def ends_well(self):
        self.assertEqual(self.server.stop(), 0)
        self.assertNotIn("Sanitizer", self.server.said())

    def test_pipelined_requests_are_answered_in_order(self):
        ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: id-%d\r\n\r\n"
        body = b'{"text":"up"}'
        post = b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-Id: id-%d\r\nContent-Length: 13\r\n\r\n" + body
        stream = b"".join((post if i % 3 == 0 else ask) % i for i in range(200))
        got = self.server.raw(stream + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % 200)
        ids = [int(line.split(b"-")[-1]) for line in got.split(b"\r\n") if line.lower().startswith(b"x-request-id: id-")]
        self.assertEqual(ids, list(range(201)))
        self.assertEqual(got.count(b"HTTP/1.1 200"), 201)
        self.ends_well()

    def test_others_are_answered_while_random_bytes_pour_in(self):
        seconds, stop, sent, times, bad = 60 if PROOF else 2, threading.Event(), [], [], []

        def pour(seed):
            chance, n, began = random.Random(seed), 0, time.monotonic()
            while not stop.is_set():
                junk = chance.randbytes(chance.randrange(1, 600))
                try:
                    with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as s:
                        s.sendall(junk if chance.random() < 0.5 else b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\n" + junk)
                except OSError:
                    pass
                n += 1
                time.sleep(max(0, began + n / 300 - time.monotonic()))  # 4 of them: up to 1,200 a second
            sent.append(n)

        def ask():
            while not stop.is_set():
                began = time.monotonic()
                answer = self.server.predict(text="up")
                times.append(time.monotonic() - began)
                if answer.status != 200:
                    bad.append(answer.body)
        threads = [threading.Thread(target=pour, args=(i,)) for i in range(4)] + [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        found = {"streams_a_second": sum(sent) / seconds, "answers": len(times), "p99_ms": 1000 * percentile(times, 0.99), "most_ms": 1000 * max(times)}
        print(f"random streams: {found}", file=sys.stderr)
        self.assertEqual(bad, [])
        self.assertGreater(found["answers"], 10 * seconds)
        self.assertLess(found["p99_ms"], 1000)
        if PROOF:
            self.assertGreater(found["streams_a_second"], 1000)
        self.ends_well()


class Idle(unittest.TestCase):
    def server_for(self, n, *words):
        server = Server("--header-seconds", 600, "--idle-seconds", 600, "--max-connections", n, *words)
        self.addCleanup(server.remove)
        return server

    def times_of(self, server, n):
        """Sorted seconds of n predictions over one connection, none of them out of the cache."""
        link, times = server.connect(), []
        for i in range(n):
            began = time.monotonic()
            self.assertEqual(server.request("POST", "/api/v1/predict", {"text": f"up {i}", "cache": False}, connection=link).status, 200)
            times.append(time.monotonic() - began)
        link.close()
        return sorted(times)

    def test_others_are_answered_beside_thousands_that_do_nothing(self):
        """Half of them never say a word, half have had an answer and stay."""
        n, held = 10000 if PROOF else 400, []
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        server = self.server_for(n + 100)
        alone = self.times_of(server, 300)
        self.addCleanup(lambda: [s.close() for s in held])
        for i in range(n):
            held.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            if i % 2:
                held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertTrue(held[-1].recv(65536).startswith(b"HTTP/1.1 200"))
        self.assertGreaterEqual(server.metric("finch_http_connections"), n)
        beside = self.times_of(server, 300)
        self.assertGreaterEqual(server.metric("finch_http_connections"), n)
        found = {"connections": n, **{f"{name}_{share}_ms": 1000 * percentile(times, share) for name, times in (("alone", alone), ("beside", beside))
                                      for share in (0.5, 0.99)}, "resident_bytes": server.metric("finch_process_resident_memory_bytes")}
        print(f"idle connections: {found}", file=sys.stderr)
        self.assertLess(percentile(beside, 0.5), 2 * percentile(alone, 0.5) + 0.002)
        self.assertLess(percentile(beside, 0.99), 0.2)
        for s in held[-101::10]:  # those that stayed are answered too
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(s.recv(65536).startswith(b"HTTP/1.1 200"))
        while held:
            held.pop().close()
        self.assertTrue(wait_for(lambda: server.metric("finch_http_connections") < 10))
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("Sanitizer", server.said())

    def test_a_low_limit_of_open_files_is_said_and_held_to(self):
        wrapper = os.path.join(tempfile.mkdtemp(prefix="finch-few-"), "finch")
        self.addCleanup(shutil.rmtree, os.path.dirname(wrapper), True)
        with open(wrapper, "w") as file:
            file.write(f'#!/bin/sh\nulimit -n 300\nexec {PROGRAM} "$@"\n')
        os.chmod(wrapper, 0o755)
        server = Server(program=wrapper)
        self.addCleanup(server.remove)
        limited = [line for line in server.log_lines() if line.get("event") == "connections_limited"]
        allowed = server.get("/api/v1/system").data["limits"]["max_connections"]["value"]
        self.assertEqual([(line["level"], line["asked"], line["allowed"]) for line in limited], [("warning", 16384, allowed)])
        self.assertIn("LimitNOFILE", limited[0]["message"])
        self.assertTrue(100 <= allowed < 300, allowed)
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(allowed + 50)]
        while held:
            held.pop().close()
        self.assertTrue(wait_for(lambda: server.get("/health").status == 200))
        self.assertEqual(server.predict(text="up").status, 200)
        self.assertEqual(server.stop(), 0)


class Door(unittest.TestCase):
    """Who is let in, and when nobody is any more."""

    def test_more_than_may_be_open_wait_their_turn(self):
        server = Server("--max-connections", 4)
        self.addCleanup(server.remove)
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(4)]
        self.addCleanup(lambda: [s.close() for s in held])
        for s in held:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(s.recv(65536).startswith(b"HTTP/1.1 200"))
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.5) as late:
            late.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertRaises(TimeoutError, late.recv, 65536)
            late.settimeout(30)
            held.pop().close()
            self.assertTrue(late.recv(65536).startswith(b"HTTP/1.1 200"))
        self.assertEqual(server.stop(), 0)

    def test_it_ends_well_while_connections_come_and_go(self):
        for _ in range(8):
            server, stop = Server("--http-threads", 4), threading.Event()
            self.addCleanup(server.remove)

            def come_and_go():
                while not stop.is_set():
                    try:
                        server.get("/health")
                    except (OSError, http.client.HTTPException):
                        if server.process.poll() is not None:
                            return
            threads = [threading.Thread(target=come_and_go) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.1)
            try:
                self.assertEqual(server.stop(), 0, server.said())
            finally:
                stop.set()
                for thread in threads:
                    thread.join()


class AllAtOnce(unittest.TestCase):
    """Predictions, explanations, batches, streams, figures and promotions together. The thread sanitizer's build runs it too."""

    def test_every_answer_is_good(self):
        folder = tempfile.mkdtemp(prefix="finch-all-")
        self.addCleanup(shutil.rmtree, folder, True)
        env = {"FINCH_STATE": os.path.join(folder, "s.sqlite")}
        for model in (TINY, MPNET):
            subprocess.run([PROGRAM, "models", "register", model, "--name", "m", "--quiet"], env={**os.environ, **env}, check=True)
        subprocess.run([PROGRAM, "models", "promote", "m@1", "--quiet"], env={**os.environ, **env}, check=True)
        server = Server("--keep-predictions", "--alerts-seconds", 0.2, env=env, models=("m",))
        self.addCleanup(server.remove)
        stop, problems = threading.Event(), []

        def keep_asking(ask):
            def run():
                i = 0
                while not stop.is_set():
                    try:
                        answer = ask(i)
                        if answer.status not in (200, 202):
                            problems.append(answer.body)
                    except OSError as why:
                        problems.append(repr(why))
                    i += 1
            return run
        stages = ("production", "shadow")
        asks = [lambda i: server.predict(texts=[f"$AAA text {i} {k}" for k in range(i % 7 + 1)]),
                lambda i: server.post("/predict", {"inputs": f"$BBB text {i % 20}"}),
                lambda i: server.predict(text=f"one {i} two three", explain=("shapley", "occlusion")[i % 2]),
                lambda i: server.get("/metrics"), lambda i: server.get("/api/v1/system"), lambda i: server.get("/api/v1/models"),
                lambda i: server.get("/api/v1/models/m@1"), lambda i: server.get("/api/v1/sentiment?ticker=AAA&bucket=1h"),
                lambda i: time.sleep(0.2) or server.request("POST", "/api/v1/batches", CSV, {"Content-Type": "text/csv"}),
                lambda i: time.sleep(0.3) or server.post(f"/api/v1/models/m@{i // 2 % 2 + 1}/promote", {"stage": stages[i % 2]})]
        threads = [threading.Thread(target=keep_asking(ask)) for ask in asks]
        listeners = [Listener(server) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(20 if PROOF else 3)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertTrue(all(one.events for one in listeners))
        for one in listeners:
            one.close()
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("Sanitizer", server.said())


if __name__ == "__main__":
    unittest.main()
