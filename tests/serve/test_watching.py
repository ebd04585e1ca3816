"""What the server does beside its answers: alerts and their webhooks, drift, shadows."""
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from finch_server import MPNET, PROGRAM, TINY, Server
from test_market import wait_for


class Receiver:
    """A webhook's receiver. answers: the status of each delivery in turn (the last one for all that follow); None: the connection stays open
    and silent."""

    def __init__(self, *answers):
        self.answers, self.got = list(answers), []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body, time.time()))
                status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                if status is None:
                    time.sleep(30)
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class StateTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-watching-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.env = {"FINCH_STATE": os.path.join(self.folder, "state.sqlite")}

    def finch(self, *words):
        done = subprocess.run([PROGRAM, *map(str, words), "--json"], capture_output=True, text=True, timeout=60, env={**os.environ, **self.env})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def serve(self, *words, **more):
        server = Server(*words, env=self.env, **more)
        self.addCleanup(server.remove)
        return server


class Alerts(StateTest):
    def turn(self, ticker):
        """A day of bad news, then an hour of good."""
        now, path = time.time(), os.path.join(self.folder, f"{ticker}.jsonl")
        with open(path, "w") as file:
            for i in range(60):
                old = i < 40
                file.write(json.dumps({"body": f"${ticker} {i}", "post_date": int(now - (7200 + i * 60 if old else i)), "ticker_symbol": ticker,
                                       "label": "STRONGLY_NEGATIVE" if old else "STRONGLY_POSITIVE"}) + "\n")
        self.finch("history", "import", "--input", path)

    def rule(self, receiver, ticker, *words):
        made = self.finch("alerts", "add", "--name", ticker, "--ticker", ticker, "--url", receiver.url, "--threshold", 0.5, "--least", 10, *words)
        return made["secret"]

    def check_signed(self, secret, headers, body):
        found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["X-Finch-Signature"])
        self.assertLess(abs(time.time() - int(found.group(1))), 60)
        signed = hmac.new(secret.encode(), f"{found.group(1)}.".encode() + body, hashlib.sha256).hexdigest()
        self.assertTrue(hmac.compare_digest(signed, found.group(2)))

    def deliveries(self):
        return self.finch("alerts", "deliveries")["deliveries"]

    def test_a_turn_is_delivered_signed_and_tried_again_until_it_arrives(self):
        receiver = Receiver(503, 204)
        self.addCleanup(receiver.close)
        secret = self.rule(receiver, "TRN")
        self.turn("TRN")
        server = self.serve("--alerts-seconds", 0.5)
        self.assertTrue(wait_for(lambda: len(receiver.got) == 2, 30), self.deliveries())
        for headers, body, _ in receiver.got:
            self.check_signed(secret, headers, body)
            document = json.loads(body)
            self.assertEqual((document["ticker"], document["turn"], document["id"]), ("TRN", "rise", headers["X-Finch-Delivery"]))
        (first, body_1, at_1), (second, body_2, at_2) = receiver.got
        self.assertEqual((body_1, first["X-Finch-Delivery"]), (body_2, second["X-Finch-Delivery"]))
        self.assertEqual((first["X-Finch-Attempt"], second["X-Finch-Attempt"]), ("1", "2"))
        self.assertGreater(at_2 - at_1, 4)
        self.assertTrue(wait_for(lambda: server.metric("finch_alert_deliveries_sent_total") == 1))
        self.assertEqual(server.metric("finch_alerts_fired_total"), 1)
        time.sleep(1.5)
        self.assertEqual((len(receiver.got), [d["state"] for d in self.deliveries()]), (2, ["sent"]))
        self.assertEqual(server.stop(), 0)

    def test_kill_in_the_middle_of_a_delivery_never_sends_it_twice(self):
        silent, later = Receiver(None), Receiver(204)
        self.addCleanup(silent.close)
        self.addCleanup(later.close)
        self.rule(silent, "KLD")
        self.turn("KLD")
        server = self.serve("--alerts-seconds", 0.3)
        self.assertTrue(wait_for(lambda: silent.got))
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        self.rule(later, "LTR")
        self.turn("LTR")
        server = self.serve("--alerts-seconds", 0.3)
        self.assertTrue(wait_for(lambda: later.got), self.deliveries())
        self.assertTrue(wait_for(lambda: server.metric("finch_alert_deliveries_in_doubt") == 1))
        time.sleep(1)
        self.assertEqual((len(silent.got), len(later.got)), (1, 1))
        self.assertEqual(sorted(d["state"] for d in self.deliveries()), ["in doubt", "sent"])
        self.assertEqual(server.stop(), 0)

    def test_a_server_told_not_to_look_does_not(self):
        receiver = Receiver(204)
        self.addCleanup(receiver.close)
        self.rule(receiver, "OFF")
        self.turn("OFF")
        server = self.serve("--alerts-seconds", 0)
        time.sleep(1)
        self.assertEqual(receiver.got, [])
        self.assertEqual(server.stop(), 0)


class Drift(StateTest):
    def test_what_comes_in_is_held_against_the_training_data(self):
        self.finch("models", "register", TINY, "--name", "market")
        texts = [f"$AAPL is up number {i}" for i in range(40)]
        path = os.path.join(self.folder, "train.jsonl")
        with open(path, "w") as file:
            for text in texts:
                file.write(json.dumps({"text": text, "label": "POSITIVE"}) + "\n")
        profile = self.finch("models", "profile", "market@1", "--data", path)
        self.assertEqual(sorted(profile), ["label", "language", "length", "ticker", "unknown"])
        self.assertEqual(sum(profile["length"].values()), 40)
        self.assertEqual(profile["ticker"], {"AAPL": 40})
        server = self.serve(models=("market",))
        server.predict(texts=texts)
        psi = 'finch_drift_psi{model="market@1",feature="%s"}'
        counted = 'finch_drift_counted{model="market@1",feature="length"}'
        self.assertTrue(wait_for(lambda: server.metric(counted) == 40, 40))
        for feature in profile:
            self.assertLess(server.metric(psi % feature), 1e-9, feature)
        server.predict(texts=[f"zzz{'q' * 30} $GME " * 20 + str(i) for i in range(60)])
        self.assertTrue(wait_for(lambda: server.metric(counted) == 100, 40))
        self.assertGreater(server.metric(psi % "length"), 0.25)
        self.assertGreater(server.metric(psi % "ticker"), 0.25)
        drift = server.get("/api/v1/models/market@1").data["drift"]
        self.assertTrue(drift["profile"])
        self.assertEqual((drift["features"]["length"]["live"], drift["features"]["length"]["training"]), (100, 40))
        self.assertAlmostEqual(drift["features"]["length"]["psi"], server.metric(psi % "length"))
        self.assertEqual(server.stop(), 0)
        server = self.serve(models=("market",))
        server.predict(text="one more")
        self.assertTrue(wait_for(lambda: server.metric(counted) == 101, 40))
        self.assertEqual(server.stop(), 0)


class Shadow(StateTest):
    def prepare(self):
        self.finch("models", "register", TINY, "--name", "market")
        self.finch("models", "register", MPNET, "--name", "market")
        self.finch("models", "promote", "market@1")

    def shadow(self, server):
        return server.get("/api/v1/models/market@1").data["shadow"]

    def test_a_candidate_scores_beside_and_is_compared(self):
        self.prepare()
        server = self.serve("--keep-predictions", models=("market",))
        self.assertIsNone(self.shadow(server))
        self.assertIsNone(server.get("/api/v1/models").data["served"][0]["shadow"])
        self.assertEqual(server.post("/api/v1/models/market@2/promote", {"stage": "shadow"}).status, 200)
        self.assertTrue(wait_for(lambda: server.get("/api/v1/models").data["served"][0]["shadow"] == "market@2"))
        texts = [f"$SHD text {i}" for i in range(60)]
        ours = server.predict(texts=texts).data
        self.assertEqual({one["model"] for one in ours}, {"market@1"})
        self.assertTrue(wait_for(lambda: (self.shadow(server) or {}).get("texts") == 60))
        found = self.shadow(server)
        self.assertEqual((found["model"], found["shadow"]), ("market@1", "market@2"))
        other = self.serve(models=(f"other={MPNET}",))
        theirs = other.predict(texts=texts).data
        self.assertEqual(other.stop(), 0)
        agree = sum(a["label"] == b["label"] for a, b in zip(ours, theirs))
        moved = [b["score"] - a["score"] for a, b in zip(ours, theirs)]
        self.assertAlmostEqual(found["agreement"], agree / 60)
        self.assertAlmostEqual(found["mean_difference"], sum(moved) / 60, places=6)
        self.assertAlmostEqual(found["mean_absolute_difference"], sum(map(abs, moved)) / 60, places=6)
        self.assertEqual(sum(map(sum, found["matrix"])), 60)
        self.assertEqual(server.metric('finch_shadow_texts_total{model="market@1",shadow="market@2"}'), 60)
        self.assertEqual(server.metric('finch_shadow_agreed_total{model="market@1",shadow="market@2"}'), agree)
        # What it said counts only where it is asked for.
        self.assertTrue(wait_for(lambda: server.get("/api/v1/sentiment?ticker=SHD&model=market@2").data["total"]["count"] == 60))
        self.assertEqual(server.get("/api/v1/sentiment?ticker=SHD").data["total"]["count"], 60)
        # Promoted, it serves and is no shadow any more.
        self.assertEqual(server.post("/api/v1/models/market@2/promote", {}).status, 200)
        self.assertTrue(wait_for(lambda: server.predict(text="up").data["model"] == "market@2"))
        self.assertTrue(wait_for(lambda: server.get("/api/v1/models").data["served"][0]["shadow"] is None))
        self.assertEqual(server.stop(), 0)

    def test_no_share_no_scoring(self):
        self.prepare()
        self.finch("models", "promote", "market@2", "--stage", "shadow")
        server = self.serve("--shadow-share", 0, models=("market",))
        self.assertTrue(wait_for(lambda: server.get("/api/v1/models").data["served"][0]["shadow"] == "market@2"))
        server.predict(texts=["a", "b"])
        self.assertTrue(wait_for(lambda: server.metric("finch_observed_texts_total") == 2))
        self.assertIsNone(self.shadow(server))
        self.assertEqual(server.stop(), 0)


class Names(StateTest):
    """The Host header: a page whose name was pointed at 127.0.0.1 sends that name."""

    def status(self, server, *hosts):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
            s.sendall(b"GET /health HTTP/1.1\r\n" + b"".join(b"Host: %s\r\n" % h for h in hosts) + b"Connection: close\r\n\r\n")
            return int(s.recv(100).split()[1])

    def test_on_loopback_only_loopbacks_names_are_answered(self):
        server = self.serve("--allowed-host", "api.example.org")
        for good in (b"localhost", b"localhost:8000", b"LOCALHOST", b"127.0.0.1:1", b"127.1.2.3", b"[::1]:8000", b"localhost.", b"api.example.org:443"):
            self.assertEqual(self.status(server, good), 200, good)
        for bad in (b"evil.example", b"127.0.0.1.evil.example", b"localhost.evil.example", b"[::2]", b"[::1", b"0.0.0.0", b"api.example.org.evil", b"x:y",
                    b"localhost:8000@evil", b""):
            self.assertEqual(self.status(server, bad), 421, bad)
        self.assertEqual(server.get("/health", Host="evil.example").error["code"], "host_not_allowed")
        self.assertNotEqual(self.status(server, b"localhost", b"evil.example"), 200)
        self.assertEqual(server.stop(), 0)

    def test_any_name_where_it_is_said(self):
        server = self.serve("--allowed-host", "*")
        self.assertEqual(self.status(server, b"evil.example"), 200)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
