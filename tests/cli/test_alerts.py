"""finch alerts: a rule added, fired by the history, delivered once with a signature that the receiver can check."""
import hashlib
import hmac
import http.server
import json
import threading
import time
import unittest

from finch_cli import FolderTest, finch, finch_json


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((dict(self.headers), body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Alerts(FolderTest):
    def setUp(self):
        super().setUp()
        self.env = {"FINCH_STATE": self.path("s.sqlite")}
        self.receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.receiver.seen, self.receiver.answers = [], []
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self.addCleanup(self.receiver.server_close)
        self.addCleanup(self.receiver.shutdown)
        self.url = f"http://127.0.0.1:{self.receiver.server_address[1]}/hook"

    def document(self, *words):
        return finch_json("alerts", *words, env=self.env)

    def fill(self):
        """An hour of bad news on GME after a good day."""
        now = int(time.time())
        rows = [f"good,{now - 7200 - 60 * i},GME,POSITIVE,0.5" for i in range(60)] + [f"bad,{now - 30 - 60 * i},GME,NEGATIVE,-0.5" for i in range(30)]
        self.write("rows.csv", "\n".join(["body,post_date,ticker_symbol,label,score", *rows, ""]))
        finch_json("history", "import", "--input", self.path("rows.csv"), env=self.env)

    def test_a_turn_is_delivered_once_and_signed(self):
        rule = self.document("add", "--name", "GME turns", "--ticker", "GME", "--direction", "fall", "--threshold", "0.4", "--url", self.url)
        self.fill()
        self.receiver.answers = [503]
        self.assertEqual({"fired": 1, "sent": 0}, self.document("run", "--once"))
        self.assertEqual({"fired": 0, "sent": 0}, self.document("run", "--once"))  # its pause is not over
        delivery = self.document("deliveries")["deliveries"][0]
        self.assertEqual(("waiting", 1), (delivery["state"], delivery["attempts"]))
        time.sleep(5.2)  # the first pause
        self.assertEqual({"fired": 0, "sent": 1}, self.document("run", "--once"))
        self.assertEqual({"fired": 0, "sent": 0}, self.document("run", "--once"))
        self.assertEqual(2, len(self.receiver.seen))
        headers, body = self.receiver.seen[1]
        self.assertEqual(self.receiver.seen[0][1], body)
        stamp, signature = (part.split("=")[1] for part in headers["X-Finch-Signature"].split(","))
        self.assertEqual(hmac.new(rule["secret"].encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest(), signature)
        said = json.loads(body)
        self.assertEqual((delivery["id"], "GME", "fall", "GME turns"), (said["id"], said["ticker"], said["turn"], said["rule"]["name"]))
        self.assertNotIn(rule["secret"], body.decode() + str(self.document("list")) + str(self.document("deliveries")))

    def test_rules_are_listed_switched_and_removed(self):
        rule = self.document("add", "--name", "all", "--measure", "volume", "--threshold", "3", "--url", self.url)
        self.document("off", rule["id"])
        self.assertEqual([False], [one["enabled"] for one in self.document("list")["rules"]])
        self.document("on", rule["id"])
        self.assertIn("all", finch("alerts", "list", env=self.env).stdout)
        self.document("remove", rule["id"])
        self.assertEqual([], self.document("list")["rules"])
        for words, code in ((["remove", rule["id"]], 1), (["add", "--name", "x", "--url", "ftp://x"], 2), (["add", "--name", "x", "--url", self.url, "--threshold", "3"], 2),
                            (["add", "--name", "x"], 2), (["retry", "0" * 32], 1), (["remove"], 2), (["list", "x"], 2), (["shout"], 2)):
            done = finch("alerts", *words, env=self.env)
            self.assertEqual(code, done.returncode, (words, done.stderr))


if __name__ == "__main__":
    unittest.main()
