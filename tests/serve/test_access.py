"""API keys, scopes, rates, sessions; and which settings let the server listen where."""
import json
import os
import re
import subprocess
import tempfile
import time
import unittest

from finch_server import PROGRAM, Server, ServerTest


def make_key(state, *words):
    done = subprocess.run([PROGRAM, "keys", "create", "--state", state, "--json", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["key"]


class Keys(ServerTest):
    words = ("--rate-limit", 100000)

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.state = os.path.join(cls.folder.name, "s.sqlite")
        cls.env = {"FINCH_STATE": cls.state}
        cls.admin = make_key(cls.state, "--name", "admin", "--scopes", "admin")
        cls.reader = make_key(cls.state, "--name", "reader", "--scopes", "read")
        cls.predictor = make_key(cls.state, "--name", "predictor", "--scopes", "predict")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def bearer(self, key):
        return {"Authorization": f"Bearer {key}"}

    def ask(self, method, path, key, body=None):
        return self.server.request(method, path, body, self.bearer(key) if key else {})

    def test_nothing_but_health_ready_and_the_documentation_is_open(self):
        document = self.server.get("/openapi.json").json
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                answer = self.server.request(method.upper(), path.replace("{id}", "x"))
                if operation["x-scope"] == "none":
                    self.assertIn(path, ("/health", "/ready", "/openapi.json", "/docs", "/docs/docs.js", "/docs/docs.css", "/"))
                    self.assertNotIn(answer.status, (401, 403))
                else:
                    self.assertEqual(answer.status, 401, (method, path))
                    self.assertIn("Bearer", answer.headers["WWW-Authenticate"])

    def test_scopes(self):
        predict = {"text": "up"}
        self.assertEqual(self.ask("POST", "/api/v1/predict", self.predictor, predict).status, 200)
        self.assertEqual(self.ask("POST", "/api/v1/predict", self.admin, predict).status, 200)
        error = self.check_error(self.ask("POST", "/api/v1/predict", self.reader, predict), 403, "scope_missing")
        self.assertEqual(error["details"], {"needed": "predict"})
        self.assertEqual(self.ask("GET", "/api/v1/system", self.reader).status, 200)
        self.assertEqual(self.ask("GET", "/api/v1/keys", self.reader).status, 403)
        self.assertEqual(self.ask("GET", "/api/v1/keys", self.admin).status, 200)
        self.assertEqual(self.server.request("GET", "/api/v1/system", headers={"X-Api-Key": self.reader}).status, 200)
        answer = self.server.request("POST", "/predict", {"inputs": "up"}, self.bearer(self.reader))
        self.assertEqual((answer.status, sorted(answer.json)), (403, ["error", "error_type"]))

    def test_wrong_keys(self):
        for key in ("x", "finch_", self.admin[:-1], self.admin + "0", self.admin[:-1] + ("0" if self.admin[-1] != "0" else "1"), "a" * 5000,
                    self.admin.upper(), "finch_000000000000_" + "0" * 64):
            answer = self.ask("GET", "/api/v1/system", key)
            self.check_error(answer, 401, "key_unknown")
            self.assertNotIn(key[-20:], answer.body.decode() if len(key) > 20 else "")
        self.check_error(self.server.request("GET", "/api/v1/system", headers={"Authorization": f"Basic {self.admin}"}), 401, "key_missing")

    def test_keys_are_made_and_revoked_over_http(self):
        made = self.ask("POST", "/api/v1/keys", self.admin, {"name": "one", "scopes": ["read"], "requests_a_minute": 3})
        self.assertEqual(made.status, 200, made.body)
        key = made.data["key"]
        answers = [self.ask("GET", "/api/v1/system", key) for _ in range(5)]
        self.assertEqual([a.status for a in answers], [200, 200, 200, 429, 429])
        self.assertEqual(answers[0].headers["RateLimit-Limit"], "3")
        self.assertEqual(answers[0].headers["RateLimit-Remaining"], "2")
        self.assertGreater(int(answers[4].headers["Retry-After"]), 0)
        self.assertEqual(answers[4].error["code"], "rate_limited")
        listed = [k for k in self.ask("GET", "/api/v1/keys", self.admin).data["keys"] if k["id"] == made.data["id"]]
        self.assertEqual((listed[0]["name"], listed[0]["state"]), ("one", "active"))
        self.assertNotIn(key, self.ask("GET", "/api/v1/keys", self.admin).body.decode())
        self.assertEqual(self.ask("DELETE", f"/api/v1/keys/{made.data['id']}", self.admin).status, 200)
        self.check_error(self.ask("GET", "/api/v1/system", key), 401, "key_unknown")
        self.assertEqual(self.ask("DELETE", "/api/v1/keys/000000000000", self.admin).status, 404)
        old = self.ask("POST", "/api/v1/keys", self.admin, {"name": "old", "scopes": ["read"], "expires": "2001-01-01"})
        if old.status == 200:
            self.check_error(self.ask("GET", "/api/v1/system", old.data["key"]), 401, "key_expired")
        for body in ({"name": "x"}, {"name": "", "scopes": ["read"]}, {"name": "x", "scopes": []}, {"name": "x", "scopes": ["root"]},
                     {"name": "x", "scopes": ["read"], "expires": "soon"}):
            self.check_error(self.ask("POST", "/api/v1/keys", self.admin, body), 422, "validation_failed")

    def test_a_key_made_elsewhere_is_known_within_seconds(self):
        key = make_key(self.state, "--name", "late", "--scopes", "read")
        until = time.monotonic() + 10
        while self.ask("GET", "/api/v1/system", key).status != 200 and time.monotonic() < until:
            time.sleep(0.2)
        self.assertEqual(self.ask("GET", "/api/v1/system", key).status, 200)

    def test_sessions(self):
        answer = self.server.request("POST", "/api/v1/session", headers=self.bearer(self.admin))
        cookie = answer.headers["Set-Cookie"]
        for wanted in ("HttpOnly", "SameSite=Strict", "Path=/"):
            self.assertIn(wanted, cookie)
        self.assertNotIn(self.admin, cookie)
        value = re.match(r"finch_session=([0-9a-f]{32});", cookie).group(1)
        headers = {"Cookie": f"finch_session={value}"}
        self.assertEqual(self.server.request("GET", "/api/v1/keys", headers=headers).status, 200)
        self.check_error(self.server.request("POST", "/api/v1/predict", {"text": "up"}, headers), 401, "key_missing")
        self.assertEqual(self.server.request("POST", "/api/v1/predict", {"text": "up"}, {**headers, "X-Finch-Session": "1"}).status, 200)
        self.assertEqual(self.server.request("GET", "/api/v1/keys", headers={"Cookie": f"finch_session={'0' * 32}"}).status, 401)
        self.assertEqual(self.server.request("DELETE", "/api/v1/session", headers={**headers, "X-Finch-Session": "1"}).status, 200)
        self.assertEqual(self.server.request("GET", "/api/v1/keys", headers=headers).status, 401)

    def test_the_log_names_keys_by_their_id_only(self):
        self.ask("GET", "/api/v1/system", self.reader)
        self.ask("GET", "/api/v1/system", "finch_wrong_" + "7" * 64)
        time.sleep(0.6)
        said = self.server.said()
        for key in (self.reader, self.admin, self.predictor):
            self.assertNotIn(key[20:], said)
        self.assertNotIn("7" * 64, said)
        self.assertIn(self.reader.split("_")[1], {line.get("key") for line in self.server.log_lines()})

    def test_a_server_with_keys_may_listen_anywhere(self):
        server = Server("--host", "0.0.0.0", env=self.env)
        self.addCleanup(server.remove)
        self.assertEqual(server.get("/api/v1/system").status, 401)
        self.assertEqual(server.stop(), 0)


class Required(ServerTest):
    words = ("--require-keys",)

    def test_without_any_key_nobody_comes_in(self):
        self.check_error(self.server.predict(text="up"), 401, "key_missing")
        self.assertEqual(self.server.get("/ready").status, 200)


class WithoutStore(ServerTest):
    words = ("--state", "none")

    def test_predictions_need_no_store(self):
        self.assertEqual(self.server.predict(text="up").status, 200)
        for path in ("/api/v1/sentiment", "/api/v1/batches", "/api/v1/stream", "/api/v1/reviews", "/api/v1/keys"):
            self.check_error(self.server.get(path), 503, "no_store")
        self.assertEqual(self.server.get("/api/v1/models").data["registered"], [])
        self.assertEqual(self.server.get("/api/v1/system").data["store"]["used"], False)


if __name__ == "__main__":
    unittest.main()
