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

    def database(self):
        return self.id().rsplit(".", 1)[1]

    def wait_told(self, *servers):
        for server in servers:
            self.assertTrue(wait_for(lambda: server.metric("finch_store_told") == 1), server.said()[-2000:])

    def predict_many(self, server, text, n):
        for at in range(0, n, 100):
            self.assertEqual(server.predict(texts=[f"{text} {i}" for i in range(at, min(n, at + 100))]).status, 200)

    def promote(self, at, number, servers, seconds):
        self.assertEqual(at.post(f"/api/v1/models/market@{number}/promote", {}).status, 200)
        for server in servers:
            self.assertTrue(wait_for(lambda: server.predict(text="up").data["model"] == f"market@{number}", seconds), server.said()[-2000:])

    def test_a_promotion_is_told(self):
        """Unasked, the servers would look at the registry every 15 seconds."""
        self.finch("models", "register", TINY, "--name", "market")
        self.finch("models", "register", MPNET, "--name", "market")
        self.finch("models", "promote", "market@1")
        servers = self.serve(models=("market",))
        self.wait_told(*servers)
        heard = servers[1].metric("finch_store_notices_total")
        for turn in range(6):
            self.promote(servers[turn % 2], 2 - turn % 2, servers, 4)
        self.assertGreater(servers[1].metric("finch_store_notices_total"), heard)
        # Those who listen are cut off, and what happens before they listen again is not told to anybody.
        listens = [server.metric("finch_store_listens_total") for server in servers]
        self.postgres.query(self.database(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN finch'; "
                            "UPDATE model_stage SET number = 2; UPDATE store_counter SET value = value + 1 WHERE name = 'registry'")
        for server, before in zip(servers, listens):
            self.assertTrue(wait_for(lambda: server.predict(text="up").data["model"] == "market@2", 6), server.said()[-2000:])
            self.assertEqual(server.metric("finch_store_listens_total"), before + 1)
        # The whole database goes and comes back.
        self.postgres.restart()
        for server in servers:
            self.assertTrue(wait_for(lambda: server.metric("finch_store_listens_total") >= 3 and server.metric("finch_store_told") == 1), server.said()[-2000:])
        self.promote(servers[0], 1, servers, 4)
        for server in servers:
            self.assertEqual(server.stop(), 0)

    def test_events_of_one_reach_the_listeners_of_another(self):
        """Unasked, the servers would look for events every 5 seconds. An id means the same at every server."""
        first, second = self.serve("--keep-predictions")
        self.wait_told(first, second)
        here, there = Listener(first), Listener(second)
        self.addCleanup(here.close)
        self.addCleanup(there.close)
        for n in range(1, 9):
            self.assertEqual(first.predict(text=f"$EVT told {n}").status, 200)
            self.assertTrue(wait_for(lambda: len(there.of("prediction")) == n, 2), n)
        last = there.of("prediction")[-1][1]
        there.close()
        for server, word in ((first, "more"), (second, "again")):
            self.predict_many(server, f"$EVT {word}", 700)
        self.assertTrue(wait_for(lambda: len(here.of("prediction")) == 8 + 1400), len(here.of("prediction")))
        missed = [event[1] for event in here.of("prediction") if event[1] > last]
        self.assertEqual(len(missed), 1400)
        for server in (first, second):
            later = Listener(server, Last_Event_ID=str(last))
            self.addCleanup(later.close)
            self.assertTrue(wait_for(lambda: len(later.of("prediction")) == 1400), len(later.of("prediction")))
            self.assertEqual([event[1] for event in later.of("prediction")], missed)
            self.assertEqual(later.of("gap"), [])

    def test_no_event_is_missed_over_a_restart_of_the_database(self):
        first, second = self.serve("--keep-predictions")
        self.wait_told(first, second)
        listeners = [Listener(first), Listener(second)]
        for listener in listeners:
            self.addCleanup(listener.close)
        self.assertEqual(first.predict(texts=[f"$RST before {n}" for n in range(50)]).status, 200)
        self.postgres.stop()
        for server in (first, second):
            self.predict_many(server, f"$RST meanwhile at {server.port}", 600)
        self.postgres.start()
        self.assertEqual(second.predict(texts=[f"$RST after {n}" for n in range(50)]).status, 200)
        for listener in listeners:
            self.assertTrue(wait_for(lambda: len(listener.of("prediction")) >= 1300, 60), len(listener.of("prediction")))
        ids = [[event[1] for event in listener.of("prediction")] for listener in listeners]
        self.assertEqual(len(set(ids[0])), 1300)
        self.assertEqual(ids[0], sorted(set(ids[0])))
        self.assertEqual(ids[0], ids[1])
        self.wait_told(first, second)
        self.assertEqual(first.predict(text="$RST told").status, 200)
        self.assertTrue(wait_for(lambda: len(listeners[1].of("prediction")) == 1301, 3))

    def import_days(self, *days):
        """Rows of so many days ago, one for each; what came in of them."""
        table = os.path.join(self.folder, f"{self.database()}.csv")
        now = int(time.time())
        with open(table, "w", encoding="utf-8") as file:
            file.write("body,post_date,ticker_symbol,label\n" + "".join(f"text {day},{now - day * 86400},DAY,POSITIVE\n" for day in days))
        return self.finch("history", "import", "--input", table)["imported"]

    def test_a_history_of_one_table_is_brought_into_parts(self):
        """The tables as version 4 had them; two servers find them at once."""
        days = list(range(0, 400, 3))
        self.assertEqual(self.import_days(*days), len(days))
        before = self.finch("history", "sentiment", "--ticker", "DAY", "--from", "2001-01-01")
        self.postgres.query(self.database(), """
            CREATE TABLE kept AS SELECT * FROM prediction; CREATE TABLE kept_ticker AS SELECT * FROM prediction_ticker;
            DROP TRIGGER store_counter_moved ON store_counter; DROP TABLE prediction, prediction_ticker, history_part;
            DROP FUNCTION finch_moved, finch_month, finch_part_add, finch_part_make, finch_part_drop;
            CREATE TABLE prediction (id BIGINT PRIMARY KEY, time BIGINT NOT NULL, hash TEXT NOT NULL, text TEXT, tickers TEXT NOT NULL, label BIGINT NOT NULL, p0 BIGINT NOT NULL,
                p1 BIGINT NOT NULL, p2 BIGINT NOT NULL, p3 BIGINT NOT NULL, p4 BIGINT NOT NULL, score BIGINT NOT NULL, model BIGINT NOT NULL, source TEXT NOT NULL,
                reach BIGINT NOT NULL, flags BIGINT NOT NULL);
            CREATE TABLE prediction_ticker (ticker TEXT NOT NULL, time BIGINT NOT NULL, id BIGINT NOT NULL, kind BIGINT NOT NULL, model BIGINT NOT NULL, label BIGINT NOT NULL,
                score BIGINT NOT NULL, w BIGINT NOT NULL, PRIMARY KEY (ticker, time, id));
            INSERT INTO prediction SELECT * FROM kept; INSERT INTO prediction_ticker SELECT * FROM kept_ticker; DROP TABLE kept, kept_ticker;
            DELETE FROM finch_schema WHERE version = 5""")
        first, second = self.serve("--keep-predictions")
        versions = self.postgres.query(self.database(), "SELECT count(*), count(DISTINCT version), max(version) FROM finch_schema")[0]
        self.assertEqual(versions, [versions[2]] * 3)
        self.assertEqual(self.postgres.query(self.database(), "SELECT count(*) FROM prediction_before"), [[str(len(days))]])
        self.assertEqual(self.finch("history", "sentiment", "--ticker", "DAY", "--from", "2001-01-01"), before)
        self.assertEqual(first.predict(text="$DAY new").status, 200)
        self.assertTrue(wait_for(lambda: second.get("/api/v1/sentiment?ticker=DAY").data["total"]["count"] == len([day for day in days if day < 30]) + 1))
        self.assertEqual(len(second.get("/api/v1/predictions?ticker=DAY&from=2001-01-01&limit=1000").data["predictions"]), len(days) + 1)

    def test_old_months_are_dropped_whole(self):
        days = (1, 20, 130, 150, 200, 400)
        self.assertEqual(self.import_days(*days), len(days))
        parts = lambda: {row[0] for row in self.postgres.query(self.database(), "SELECT name FROM history_part")}
        before = parts()
        self.assertGreaterEqual(len(before), 4)
        server = self.serve("--history-keep", 90, n=1)[0]
        self.assertTrue(wait_for(lambda: self.postgres.query(self.database(), "SELECT count(*) FROM prediction") == [["2"]]), server.said()[-2000:])
        self.assertEqual({line["rows"] for line in server.log_lines() if line.get("event") == "history_pruned"}, {4})
        ahead = time.gmtime(time.time())
        names = {f"{ahead.tm_year}_{ahead.tm_mon:02d}", f"{ahead.tm_year + ahead.tm_mon // 12}_{ahead.tm_mon % 12 + 1:02d}"}
        self.assertLessEqual(names, parts())
        self.assertEqual(server.get("/api/v1/sentiment?ticker=DAY&from=2001-01-01").data["total"]["count"], len(days))
        self.assertEqual(len(server.get("/api/v1/predictions?ticker=DAY&from=2001-01-01").data["predictions"]), 2)
        self.assertEqual(self.postgres.query(self.database(), "SELECT to_regclass('prediction_" + min(before) + "')"), [[""]])

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
