"""Several servers on one PostgreSQL, as behind a load balancer: what one of them learns the others know, and what one leaves when it
dies another ends. Each has its own folder of models; uploads lie in a folder that all reach."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from finch_server import MPNET, PROGRAM, SOURCE, TINY, Server, in_parallel
from test_market import Listener, wait_for

sys.path.insert(0, os.path.join(SOURCE, "tests", "provider"))
from postgres import Postgres  # noqa: E402


class Shared(unittest.TestCase):
    N = 3

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres()
        cls.addClassCleanup(cls.postgres.close)
        cls.folder = tempfile.mkdtemp(prefix="finch-shared-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)

    def setUp(self):
        self.url = self.postgres.url(self.id().rsplit(".", 1)[1])

    def env(self, i):
        return {"FINCH_STATE": self.url, "FINCH_REGISTRY": os.path.join(self.folder, f"{self.id().rsplit('.', 1)[1]}-{i}")}

    def serve(self, *words, n=2, models=(TINY,)):
        """All started at once."""
        servers = in_parallel(n, lambda i: Server("--batch-folder", os.path.join(self.folder, "batches"), *words, env=self.env(i), models=models))
        for server in servers:
            self.addCleanup(server.remove)
        return servers

    def finch(self, *words):
        done = subprocess.run([PROGRAM, *words, "--json"], capture_output=True, text=True, timeout=60, env={**os.environ, **self.env("cli")})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_an_empty_database_is_set_up_once(self):
        servers = self.serve(n=self.N)
        versions = self.postgres.query(self.id().rsplit(".", 1)[1], "SELECT count(*), count(DISTINCT version), max(version) FROM finch_schema")
        self.assertEqual(versions[0][0], versions[0][1])
        self.assertEqual(versions[0][0], versions[0][2])
        for server in servers:
            self.assertEqual(server.stop(), 0)

    def test_keys_of_one_are_known_to_all(self):
        admin = self.finch("keys", "create", "--name", "admin", "--scopes", "admin")["key"]
        first, second = self.serve()
        ask = {"Authorization": f"Bearer {admin}"}
        made = first.post("/api/v1/keys", {"name": "one", "scopes": ["predict"]}, **ask)
        self.assertEqual(made.status, 200, made.body)
        key = {"Authorization": f"Bearer {made.data['key']}"}
        begin = time.monotonic()
        self.assertTrue(wait_for(lambda: second.post("/api/v1/predict", {"text": "up"}, **key).status == 200))
        self.assertEqual(second.request("DELETE", f"/api/v1/keys/{made.data['id']}", headers=ask).status, 200)
        self.assertTrue(wait_for(lambda: first.post("/api/v1/predict", {"text": "up"}, **key).status == 401))
        self.assertLess(time.monotonic() - begin, 20)

    def test_a_promotion_at_one_is_served_by_all(self):
        self.finch("models", "register", TINY, "--name", "market")
        self.finch("models", "register", MPNET, "--name", "market")
        self.finch("models", "promote", "market@1")
        servers = self.serve(models=("market",))
        for number, at in ((2, 0), (1, 1)):
            self.assertEqual(servers[at].post(f"/api/v1/models/market@{number}/promote", {}).status, 200)
            for server in servers:
                self.assertTrue(wait_for(lambda: server.predict(text="up").data["model"] == f"market@{number}"), server.said()[-2000:])

    def test_predictions_of_one_are_history_and_news_at_all(self):
        first, second = self.serve("--keep-predictions")
        listener = Listener(second)
        self.addCleanup(listener.close)
        self.assertEqual(first.predict(texts=[f"$SHR is {i} % up" for i in range(20)]).status, 200)
        self.assertEqual(second.predict(texts=[f"$SHR is {i} % down" for i in range(10)]).status, 200)
        for server in (first, second):
            self.assertTrue(wait_for(lambda: server.get("/api/v1/sentiment?ticker=SHR").data["total"]["count"] == 30))
        self.assertTrue(wait_for(lambda: len(listener.of("prediction")) == 30), len(listener.of("prediction")))
        ids = [event[1] for event in listener.of("prediction")]
        self.assertEqual(ids, sorted(set(ids)))

    def test_a_job_of_a_killed_server_is_ended_by_another(self):
        first, second = self.serve()
        table = "body\n" + "".join(f"some text {i} about $AAPL\n" for i in range(6000))
        jobs = [first.request("POST", "/api/v1/batches", table, {"Content-Type": "text/csv"}).data["id"] for _ in range(2)]
        first.process.kill()
        first.process.wait()  # until then it is there, and its lease is waited for
        for job in jobs:
            self.assertTrue(wait_for(lambda: second.get(f"/api/v1/batches/{job}").data["state"] == "done", 120), second.get(f"/api/v1/batches/{job}").body)
            self.assertEqual(second.get(f"/api/v1/batches/{job}/result?format=csv").body.count(b"\n"), 6001)
        self.assertEqual(second.stop(), 0)

    def test_all_survive_a_lost_database(self):
        servers = self.serve("--keep-predictions")
        self.postgres.stop()
        for server in servers:
            self.assertEqual(server.predict(text="$LST meanwhile").status, 200)
        self.postgres.start()
        for server in servers:
            self.assertTrue(wait_for(lambda: server.get("/api/v1/sentiment?ticker=LST").status == 200
                                     and server.get("/api/v1/sentiment?ticker=LST").data["total"]["count"] == 2, 60), server.said()[-2000:])
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
