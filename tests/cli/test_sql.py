"""finch sql: the scores of finch score in SQL, nulls, errors with their place, formats, and what is off."""
import csv
import gzip
import io
import json
import os
import signal
import subprocess
import time
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

from finch_cli import PROGRAM, SOURCE, FolderTest, finch, finch_json

STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")


class Sql(FolderTest):
    def rows(self, statement, *words):
        return finch_json("sql", statement, *words)

    def small(self, n=80):
        """The first rows with a null, an empty text and equal texts among them."""
        table = pq.read_table(STOCKNET).slice(0, n)
        bodies = table["body"].to_pylist()
        bodies[3], bodies[5], bodies[8] = None, "", bodies[7]
        table = table.set_column(table.schema.get_field_index("body"), "body", pa.array(bodies, pa.string()))
        pq.write_table(table, self.path("t.parquet"))
        return self.path("t.parquet")

    def test_scores_are_those_of_finch_score(self):
        path = self.small()
        scored = self.path("scored.parquet")
        self.assertEqual(finch("score", "--input", path, "--output", scored).returncode, 0)
        for threads in ("1", "2"):
            count = self.rows(f"""SELECT count(*) AS n, count(finch_score(body)) AS scored,
                count(*) FILTER (finch_score(body) IS DISTINCT FROM score) AS scores, count(*) FILTER (finch_label(body) IS DISTINCT FROM label) AS labels,
                count(*) FILTER (finch_probs(body).STRONGLY_POSITIVE IS DISTINCT FROM prob_strongly_positive
                              OR finch_probs(body).NEUTRAL IS DISTINCT FROM prob_neutral) AS probs FROM '{scored}'""", "--threads", threads)
            self.assertEqual(count, [{"n": 80, "scored": 78, "scores": 0, "labels": 0, "probs": 0}])

    def test_a_text_is_scored_once(self):
        path, out = self.small(), self.path("o.parquet")
        query = (f"SELECT finch_label(body) AS l, finch_probs(body) AS p, rank() OVER (ORDER BY finch_score(body)) AS r, b.body AS other FROM '{path}' b "
                 "WHERE finch_score(body) > -2 ORDER BY finch_score(body)")
        document = finch_json("sql", query, "--output", out, "--model", TINY)
        bodies = [b for b in pq.read_table(path)["body"].to_pylist() if b]
        self.assertEqual((document["rows"], document["texts_scored"]), (len(bodies), len(set(bodies))))
        self.assertTrue(pa.types.is_struct(pq.read_schema(out).field("p").type))

    def test_nulls_empty_texts_and_constants(self):
        self.assertEqual(self.rows("SELECT finch_score(NULL) s, finch_label('') l, finch_probs(NULL) p, finch_clean(NULL) c, finch_clean('') e, "
                                   "finch_tickers(NULL) t, finch_tickers('') f", "--model", TINY),
                         [{"s": None, "l": None, "p": None, "c": None, "e": "", "t": None, "f": []}])
        one = self.rows("SELECT finch_score('$AAPL up') = max(finch_score(x)) AS same, count(*) AS n FROM (SELECT '$AAPL up' AS x FROM range(5000))", "--model", TINY)
        self.assertEqual(one, [{"same": True, "n": 5000}])

    def test_clean_and_tickers(self):
        rows = self.rows("SELECT finch_clean('RT @bob: $AAPL &amp; $brk.b  http://t.co/x') AS c, finch_tickers('$AAPL $MSFT $aapl $5') AS t")
        self.assertEqual(rows[0]["t"], ["AAPL", "MSFT"])
        self.assertIn("$AAPL & $brk.b", rows[0]["c"])
        self.assertNotIn("t.co", rows[0]["c"])

    def test_in_group_by_aggregates_and_over_many_files(self):
        self.small()
        for i in range(3):
            with gzip.open(self.path(f"day-{i}.csv.gz"), "wt", encoding="utf-8") as file:
                file.write("id,body\n" + "".join(f"{i}{k},tweet {k} of $T{'ABC'[k % 3]}\n" for k in range(50)))
        rows = self.rows(f"SELECT finch_tickers(body)[1] AS t, count(*) AS n, avg(finch_score(body)) AS s FROM '{self.path('day-*.csv.gz')}' GROUP BY ALL "
                         "HAVING count(finch_label(body)) > 0 ORDER BY t", "--model", TINY)
        self.assertEqual([(row["t"], row["n"]) for row in rows], [("TA", 51), ("TB", 51), ("TC", 48)])
        self.assertTrue(all(-1 <= row["s"] <= 1 for row in rows))

    def test_every_format_out(self):
        query = "SELECT 9007199254740993 AS id, 'a,\"b\"' AS t, TIMESTAMP '2020-01-02 03:04:05' AS w, [1, 2] AS l, NULL AS n FROM range(3)"
        self.assertEqual(list(csv.reader(io.StringIO(finch("sql", query).stdout)))[1], ["9007199254740993", 'a,"b"', "2020-01-02 03:04:05", "[1, 2]", ""])
        self.assertEqual(self.rows(query)[2]["id"], 9007199254740993)
        self.assertEqual(len(finch("sql", query, "--format", "jsonl").stdout.splitlines()), 3)
        said = finch("sql", query, "--format", "table", "--rows", "2").stdout
        self.assertIn("the first 2 rows", said)
        self.assertEqual(len(said.splitlines()), 4)
        for ending in ("parquet", "csv", "json", "jsonl.gz", "tsv.zst"):
            out = self.path("o." + ending)
            document = finch_json("sql", query + " -- a comment at the end", "--output", out)
            self.assertEqual((document["rows"], finch_json("data", "schema", out)["rows"]), (3, 3))
        table = pq.read_table(self.path("o.parquet"))
        self.assertEqual([str(field.type) for field in table.schema][:3], ["int64", "string", "timestamp[us]"])
        self.assertTrue(pa.types.is_list(table.schema.field("l").type))

    def test_stdout_that_is_a_file_keeps_what_stands_in_it(self):
        path = self.path("all.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("before\n")
            file.flush()
            for number in (1, 2):
                subprocess.run([PROGRAM, "sql", f"SELECT {number} AS n"], stdout=file, check=True, timeout=60)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "before\nn\n1\nn\n2\n")

    def test_statements_from_files_and_pipes(self):
        text = "-- one; two\nCREATE TABLE a AS SELECT 'x;y' AS b, $$ ; $$ AS c; /* ; /* nested */ */\nINSERT INTO a VALUES (';', '');\nSELECT count(*) AS n FROM a;\n"
        with open(self.path("q.sql"), "w", encoding="utf-8") as file:
            file.write(text)
        self.assertEqual(json.loads(finch("sql", "-", "--json", stdin=text.encode()).stdout), [{"n": 2}])
        self.assertEqual(finch_json("sql", "--file", self.path("q.sql")), [{"n": 2}])

    def test_errors_have_place_and_code(self):
        cut, wrong = self.path("cut.parquet"), self.path("wrong.csv")
        with open(STOCKNET, "rb") as whole, open(cut, "wb") as file:
            file.write(whole.read(50_000))
        with open(wrong, "w", encoding="utf-8") as file:
            file.write("a\n1\nx\n")
        cases = [
            ("SELECT 1;\nSELECT *\n  FORM x", 2, "line 3, column 8"), ("SELECT nope FROM range(3)", 2, 'column "nope" not found'),
            ("SELECT finch_sore('a')", 2, "line 1, column 8"), ("SELECT finch_clean(1, 2)", 2, "finch_clean"), ("", 2, "no statement"), ("/* nothing */ ;", 2, "no statement"),
            ("SELECT ?", 2, "parameters"), ("INSTALL httpfs", 2, "are off"), ("LOAD '/tmp/x.duckdb_extension'", 2, "are off"), ("SELECT 1; LOAD json; SELECT 2", 2, "are off"),
            ("SET autoload_known_extensions = true", 2, "locked"), ("SELECT * FROM 'https://127.0.0.1:9/a.parquet'", 2, "httpfs"),
            ("ATTACH 'a.sqlite' AS a (TYPE sqlite)", 1, "not found"), ("SELECT * FROM 'no.parquet'", 1, "no.parquet"),
            (f"SELECT CAST(a AS INTEGER) FROM '{wrong}'", 3, "'x'"), (f"SELECT * FROM '{cut}'", 3, "cut.parquet"), ("SELECT error('boom')", 3, "boom"),
        ]
        for statement, code, said in cases:
            done = finch("sql", statement)
            self.assertEqual(done.returncode, code, f"{statement}: {done.stderr}")
            self.assertIn(said, done.stderr, statement)
        for words, code, said in [([], 2, "as one word"), (["SELECT 1", "--file", "x"], 2, "as one word"), (["SELECT 1", "--memory-limit", "lots"], 2, "--memory-limit"),
                                  (["CREATE TABLE a (b INT)", "--output", self.path("a.csv")], 2, "no rows"), (["SELECT 1", "--output", self.path("a.xls")], 2, "ending"),
                                  (["SELECT finch_score('a')", "--model", "none-such"], 1, "none-such"), (["SELECT 1", "--output", self.path("a.csv"), "--format", "csv"], 2, "--format")]:
            done = finch("sql", *words)
            self.assertEqual(done.returncode, code, f"{words}: {done.stderr}")
            self.assertIn(said, done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["cut.parquet", "wrong.csv"])

    def test_a_broken_csv_is_told_with_its_file_and_the_way_around(self):
        broken, long, text = (self.path(name) for name in ("broken.csv", "long.csv", "text.csv"))
        rows = [f"{i},t{i},{i}{',4' if i == 25_000 else ''}\n" for i in range(30_000)]
        for path, rows in ((broken, "".join(rows)), (long, f"1,{'x' * 3_000_000},2\n"), (text, "1,b,2\n" * 30_000 + "x,y,z\n")):
            with open(path, "w", encoding="utf-8") as file:
                file.write("a,b,c\n" + rows)
        for path, said in ((broken, "Line: 25002: Expected Number of Columns: 3 Found: 4"), (long, "Maximum line size"), (text, "Line: 30002: Error when converting")):
            done = finch("sql", f"SELECT sum(a) FROM '{path}'")
            self.assertEqual(done.returncode, 3, done.stderr)
            for word in (path, said, "finch data convert"):
                self.assertIn(word, done.stderr)
            self.assertLess(len(done.stderr), 700)
        self.assertEqual(finch("data", "convert", broken, "--output", self.path("good.parquet")).returncode, 0)
        self.assertEqual(finch("sql", f"SELECT count(*) FROM '{self.path('good.parquet')}'").stdout.split(), ["count_star()", "29999"])

    def test_memory_is_bounded_by_the_limit(self):
        document = finch_json("sql", "SELECT i, hash(i) AS h, 'text ' || i AS t FROM range(1000000) r(i) ORDER BY h", "--memory-limit", "40MB", "--output", self.path("o.parquet"),
                              env={"TMPDIR": self.folder})
        self.assertEqual(document["rows"], 1000000)
        self.assertEqual(os.listdir(self.folder), ["o.parquet"])
        done = finch("sql", "SELECT list(i) FROM range(100000000) r(i)", "--memory-limit", "50MB")
        self.assertEqual(done.returncode, 1, done.stderr)

    def test_an_interrupt_ends_it(self):
        for query in (f"SELECT avg(finch_score(body || i)) FROM '{STOCKNET}', range(50) r(i)", "SELECT count(*) FROM range(10000000000) a(i), range(1000) b(j) WHERE hash(i, j) = 7"):
            running = subprocess.Popen([PROGRAM, "sql", query, "--quiet", "--model", TINY], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(0.8)
            self.assertIsNone(running.poll(), "the query ended before it was interrupted; the test shows nothing")
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
            self.assertEqual(running.returncode, 130, said)


if __name__ == "__main__":
    unittest.main()
