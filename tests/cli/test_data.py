"""finch data: head, schema, stats and convert against what Python's own readers say."""
import csv
import os
import statistics
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

from finch_cli import SOURCE, FolderTest, finch, finch_json

STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
SPX = os.path.join(SOURCE, "data", "spx", "tweets_2020.csv")


class Data(FolderTest):
    def test_head(self):
        want = pq.read_table(STOCKNET).slice(0, 3).to_pylist()
        self.assertEqual(finch_json("data", "head", STOCKNET, "--rows", "3"), want)
        said = finch("data", "head", STOCKNET, "--rows", "3").stdout
        self.assertIn("96,826 rows, 8 columns", said)
        self.assertEqual(len(said.splitlines()), 6)
        self.assertTrue(all(len(line) <= 110 for line in said.splitlines()))
        self.assertIn(str(want[0]["tweet_id"]), said)

    def test_head_of_hostile_texts_keeps_its_lines(self):
        path = self.write("a.csv", 'id,body\n1,"a\nb\033[31m\u202e"\n2,' + "\u4e2d" * 300 + "\n")
        said = finch("data", "head", path).stdout
        self.assertEqual(len(said.splitlines()), 4)
        self.assertNotIn("\033", said)
        self.assertNotIn("\u202e", said)

    def test_schema(self):
        document = finch_json("data", "schema", STOCKNET)
        self.assertEqual((document["rows"], document["rejected"]), (96826, 0))
        self.assertEqual([(c["name"], c["type"]) for c in document["columns"]][:4],
                         [("tweet_id", "BIGINT"), ("writer", "VARCHAR"), ("post_date", "BIGINT"), ("body", "VARCHAR")])
        self.assertIn("tweet_id       BIGINT", finch("data", "schema", STOCKNET).stdout)

    def test_stats(self):
        with open(SPX, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        document = finch_json("data", "stats", SPX)
        by_name = {c["name"]: c for c in document["columns"]}
        self.assertEqual(document["rows"], len(rows))
        self.assertEqual(by_name["sentiment"]["nulls"], sum(row["sentiment"] == "" for row in rows))
        for name in rows[0]:
            self.assertEqual(by_name[name]["distinct"], len({row[name] for row in rows} - {""}), name)
        self.assertAlmostEqual(by_name["id"]["mean"], statistics.fmean(int(row["id"]) for row in rows), places=3)
        self.assertEqual(by_name["id"]["most"], str(max(int(row["id"]) for row in rows)))
        self.assertAlmostEqual(by_name["text"]["mean"], statistics.fmean(len(row["text"]) for row in rows), delta=0.06)
        said = finch("data", "stats", SPX).stdout
        self.assertIn("3700" if by_name["sentiment"]["nulls"] == 3700 else "nulls", said)

    def test_convert_there_and_back(self):
        self.assertEqual(finch("data", "convert", SPX, "--output", self.path("a.parquet")).returncode, 0)
        self.assertEqual(finch("data", "convert", self.path("a.parquet"), "--output", self.path("a.jsonl.zst")).returncode, 0)
        self.assertEqual(finch("data", "convert", self.path("a.jsonl.zst"), "--output", self.path("a.csv")).returncode, 0)
        with open(SPX, newline="", encoding="utf-8") as file:
            want = list(csv.reader(file, delimiter=";"))
        with open(self.path("a.csv"), newline="", encoding="utf-8") as file:
            self.assertEqual(list(csv.reader(file)), want)

    def test_convert_joins_and_counts(self):
        a, b = self.write("a.csv", "id,n\n1,007\n2\n"), self.write("b.csv", "n,id\n1.50,3\n")
        document = finch_json("data", "convert", a, b, "--output", self.path("c.csv"))
        self.assertEqual((document["rows"], document["rejected"]), (2, 1))
        with open(self.path("c.csv"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "id,n\n1,007\n3,1.50\n")
        with open(self.path("rejects.csv"), newline="", encoding="utf-8") as file:
            self.assertEqual([row["line"] for row in csv.DictReader(file)], ["3"])

    def test_concat_restores_an_order(self):
        for ending in ("csv", "parquet", "jsonl"):
            shards = [self.path(f"s{i}.{ending}") for i in range(3)]
            for i, shard in enumerate(shards):
                rows = self.write("raw.csv", "row,body\n" + "".join(f"{k},text {k}\n" for k in range(i, 30, 3)))
                self.assertEqual(finch("data", "convert", rows, "--output", shard).returncode, 0)
            out = self.path("all.csv")
            self.assertEqual(finch_json("data", "concat", *shards, "--order-by", "row", "--output", out)["rows"], 30)
            with open(out, newline="", encoding="utf-8") as file:
                self.assertEqual([row["row"] for row in csv.DictReader(file)], [str(k) for k in range(30)], ending)
            finch_json("data", "concat", *shards, "--output", out)
            with open(out, newline="", encoding="utf-8") as file:
                self.assertEqual([int(row["row"]) for row in csv.DictReader(file)], [k for i in range(3) for k in range(i, 30, 3)])

    def test_concat_says_what_differs(self):
        a, b = self.path("a.parquet"), self.path("b.parquet")
        pq.write_table(pa.table({"id": [2, 1], "n": [1, 2]}), a)
        pq.write_table(pa.table({"id": ["x", "1"], "body": ["p", "q"]}), b)
        done = finch("data", "concat", a, b, "--output", self.path("c.parquet"))
        self.assertEqual(done.returncode, 0, done.stderr)
        for said in (f'{a} has no column "body"', f'{b} has no column "n"', f'"id" is BIGINT in {a} and VARCHAR in {b}: written as VARCHAR'):
            self.assertIn(said, done.stderr)
        self.assertEqual(pq.read_table(self.path("c.parquet")).to_pylist()[2], {"id": "x", "n": None, "body": "p"})
        done = finch("data", "concat", a, a, "--order-by", "id", "--output", self.path("d.parquet"))
        self.assertIn("2 rows have a value", done.stderr)
        self.assertEqual(pq.read_table(self.path("d.parquet"))["id"].to_pylist(), [1, 1, 2, 2])
        for words, code, said in [((a, b, "--order-by", "n"), 3, 'no column "n"'), ((a, "--order-by", "row"), 3, '"row"'),
                                  ((self.write("n.csv", "row,x\n1,a\n,b\n"), "--order-by", "row"), 3, "no value")]:
            done = finch("data", "concat", *words, "--output", self.path("e.csv"))
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(said, done.stderr)
        self.assertEqual(finch("data", "concat", a).returncode, 2)
        self.assertEqual(finch("data", "head", a, "--order-by", "id").returncode, 2)

    def test_what_is_wrong_is_said(self):
        path = self.write("a.csv", "id\n1\n")
        for words, code, said in [(["peek", path], 2, "head, schema"), (["convert", path], 2, "--output"), (["head", "no.csv"], 1, "no such file"),
                                  (["head", self.write("e.csv", "")], 3, "empty"), (["head", self.write("b.csv", "a,b\n1,2\n3\n"), "--strict"], 3, "line 3")]:
            done = finch("data", *words)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main()
