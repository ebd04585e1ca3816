"""The store's tables in finch sql, from SQLite and from PostgreSQL: every row with readable values, page after page, and nothing
that is nobody's business."""
import json
import os
import sqlite3
import sys
import tempfile
import unittest

import pyarrow.parquet as pq

from finch_cli import SOURCE, FolderTest, finch, finch_json

sys.path.insert(0, os.path.join(SOURCE, "tests", "provider"))
from postgres import Postgres  # noqa: E402

N_ITEMS = 45001  # more than two pages
CLASSES = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
SECRET = "not-for-eyes"
COUNT = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {N_ITEMS - 1}) "

# Both databases understand these; made after finch has made the tables.
FILL = [
    "INSERT INTO label_prompt VALUES ('p1', 'say a class', 1700000000000)",
    "INSERT INTO label_asker VALUES (1, 'maker/model', 'p1'), (2, 'maker/judge', 'p1')",
    "INSERT INTO label_job VALUES (7, 'first', 1700000000123, 'done', '', 1, 2, 3, 'https://h/v1', '[\"a.csv\"]', 'text', 10, 9)",
    "INSERT INTO label_job VALUES (8, 'second', 1700000001000, 'running', '', 1, NULL, 1, 'https://h/v1', '[\"b.csv\"]', 'text', NULL, NULL)",
    COUNT + f"INSERT INTO label_item SELECT 7, i, 'h' || i, 'text ' || i || ' \u20ac', 2, 0, 1, 1, '{SECRET}', 5, i % 5, 0.25, NULL, i % 3 FROM n",
    "INSERT INTO label_item VALUES (8, 0, 'x', 'waits', 0, 0, 1, 0, NULL, NULL, NULL, NULL, NULL, NULL)",
    COUNT + f"INSERT INTO label_answer SELECT 1, 'h' || i, 0, i % 5, NULL, 'r1', 1700000000000 + i, '{SECRET}', NULL FROM n",
    f"INSERT INTO label_answer VALUES (1, 'claimed', 0, NULL, NULL, NULL, NULL, '{SECRET}', 9)",
    f"INSERT INTO label_request VALUES ('r1', 7, 1, '{SECRET}', '{SECRET}', 20, '{SECRET}', 1700000000000, 1700000000500, 200, 'good', 'gen-1', 100, 20, 1500000, NULL)",
    "INSERT INTO label_review VALUES ('h0', 'ann', 4, 1700000000000), ('h0', 'bob', 0, 1700000000000)",
    "INSERT INTO history_model VALUES (1, 'm@1')",
    "INSERT INTO prediction VALUES (5, 1700000000000, 'h', 'up', 'AAPL', 3, 0, 0, 100000, 900000, 0, 450000, 1, 'api', 2, 0)",
    f"INSERT INTO batch_job VALUES ('b1', 1700000000000, 'score', 'done', '/{SECRET}', 'up.csv', 9, '{SECRET}', '{SECRET}', '{SECRET}', 0, 1, 3, 3, '/{SECRET}', 9, '{{}}', '', "
    "1700000000001, 0)",
    "INSERT INTO model_version VALUES ('m', 1, 'd', '{}', 'n', 'ann', 1700000000000, 5, 0), ('m', 2, 'e', '{}', '', 'ann', 1700000000000, 5, 0), ('m', 3, 'f', '', '', 'ann', 1, 5, 1)",
    "INSERT INTO model_stage VALUES ('m', 'production', 2, 1700000000000), ('m', 'shadow', 2, 1700000000000)",
    f"INSERT INTO api_key VALUES ('k', '{SECRET}', '{SECRET}', 1, 1, 1, 0, 1, 1, 1)",
]


class Store:
    """What both databases have to show."""

    def rows(self, statement, *more):
        return finch_json("sql", statement, "--state", self.place, *more)

    def test_labels(self):
        out = self.path("labels.parquet")
        self.assertEqual(self.rows("SELECT * FROM store.labels WHERE job = 'first' ORDER BY seq", "--output", out)["rows"], N_ITEMS)
        rows = pq.read_table(out).to_pylist()
        self.assertEqual(rows[7], {"job": "first", "seq": 7, "hash": "h7", "text": "text 7 \u20ac", "state": "settled", "label": CLASSES[2], "confidence": 0.25, "reason": None, "gold": CLASSES[1]})
        self.assertEqual([row["seq"] for row in rows], list(range(N_ITEMS)))
        self.assertEqual(self.rows("SELECT text, state, label FROM store.labels WHERE job = 'second'"), [{"text": "waits", "state": "waiting", "label": None}])

    def test_jobs_requests_and_the_rest(self):
        jobs = self.rows("SELECT * FROM Store . jobs ORDER BY job")
        self.assertEqual((jobs[0]["model"], jobs[0]["judge"], jobs[0]["prompt"], jobs[0]["votes"], jobs[0]["cost_dollars"]), ("maker/model", "maker/judge", "p1", 3, 0.0015))
        self.assertEqual(jobs[0]["created"], "2023-11-14 22:13:20.123")
        self.assertEqual((jobs[1]["job"], jobs[1]["texts"], jobs[1]["judge"]), ("second", None, None))
        self.assertEqual(self.rows('SELECT job, texts, status, epoch_ms(ended - sent) AS took, input_tokens FROM "store"."requests"'),
                         [{"job": "first", "texts": 20, "status": 200, "took": 500, "input_tokens": 100}])
        self.assertEqual(self.rows("SELECT count(*) AS n, count(DISTINCT hash) AS d FROM store.answers"), [{"n": N_ITEMS, "d": N_ITEMS}])
        self.assertEqual(self.rows("SELECT reviewer, r.label AS said, l.label FROM store.reviews r JOIN store.labels l USING (hash) ORDER BY 1"),
                         [{"reviewer": "ann", "said": CLASSES[4], "label": CLASSES[0]}, {"reviewer": "bob", "said": CLASSES[0], "label": CLASSES[0]}])
        self.assertEqual(self.rows("SELECT prompt, content FROM store.prompts"), [{"prompt": "p1", "content": "say a class"}])
        self.assertEqual(self.rows("SELECT tickers, label, score, prob_positive, model FROM store.predictions"),
                         [{"tickers": "AAPL", "label": "POSITIVE", "score": 0.45, "prob_positive": 0.9, "model": "m@1"}])
        self.assertEqual(self.rows("SELECT id, input, finished FROM store.batches"), [{"id": "b1", "input": "up.csv", "finished": None}])
        self.assertEqual(self.rows("SELECT version, stage FROM store.models"), [{"version": 1, "stage": None}, {"version": 2, "stage": "production"}, {"version": 2, "stage": "shadow"}])

    def test_nothing_secret_is_shown(self):
        names = ("jobs", "labels", "answers", "requests", "reviews", "prompts", "predictions", "batches", "models")
        for name in names:
            rows = self.rows(f"SELECT * FROM store.{name} LIMIT 100")
            self.assertTrue(rows, name)
            self.assertNotIn(SECRET, json.dumps(rows), name)

    def test_it_joins_with_files_and_functions(self):
        path = self.write("prices.csv", "hash,price\nh1,1.5\nh2,2.5\n")
        rows = self.rows(f"SELECT l.label, p.price, finch_clean(l.text) AS t FROM store.labels l JOIN '{path}' p USING (hash) ORDER BY hash", "--memory-limit", "200MB")
        self.assertEqual(rows, [{"label": CLASSES[1], "price": 1.5, "t": "text 1 \u20ac"}, {"label": CLASSES[2], "price": 2.5, "t": "text 2 \u20ac"}])

    def test_what_is_not_there_is_told(self):
        done = finch("sql", "SELECT * FROM store.lables", "--state", self.place)
        self.assertEqual(done.returncode, 2)
        self.assertIn("store.labels", done.stderr)
        self.assertEqual(self.rows("SELECT store.labels AS l FROM (SELECT 1 AS labels) AS store"), [{"l": 1}])


class Sqlite(Store, FolderTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="finch-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.place = os.path.join(folder.name, "state.sqlite")
        assert finch("label", "status", "--state", cls.place).returncode == 0
        with sqlite3.connect(cls.place) as database:
            for statement in FILL:
                database.execute(statement)
        database.close()

    def test_a_question_makes_no_store(self):
        done = finch("sql", "SELECT * FROM store.labels", "--state", self.path("none.sqlite"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("--state", done.stderr)
        self.assertFalse(os.path.exists(self.path("none.sqlite")))
        self.assertEqual(finch_json("sql", "SELECT count(*) AS n FROM store.jobs", env={"FINCH_STATE": self.place}), [{"n": 2}])


class PostgreSql(Store, FolderTest):
    @classmethod
    def setUpClass(cls):
        cls.server = Postgres()
        cls.addClassCleanup(cls.server.close)
        cls.place = cls.server.url("store")
        assert finch("label", "status", "--state", cls.place).returncode == 0
        cls.server.query("store", ";\n".join(FILL) + ";")


if __name__ == "__main__":
    unittest.main()
