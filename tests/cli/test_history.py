"""finch history: what the sums say equals a direct query by DuckDB over the same rows, to the last digit."""
import csv
import datetime
import json
import math
import random
import unittest

import duckdb

from finch_cli import FolderTest, finch, finch_json

CLASSES = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
COLUMNS = ["body", "post_date", "ticker_symbol", "label", "score", "like_num", "retweet_num", "dropped_reason", *(f"prob_{name.lower()}" for name in CLASSES)]
BEGIN = 1577836800  # 2020-01-01
N = 12000


def make_rows(seed):
    draw = random.Random(seed)
    for i in range(N):
        label = draw.randrange(5)
        shares = [draw.random() for _ in CLASSES]
        total = sum(shares)
        yield [f"tweet {i} \N{ROCKET} 'quoted' \"twice\"", BEGIN + draw.randrange(60 * 86400), "|".join(draw.sample(["AAPL", "TSLA", "BRK.B", "gme"], draw.randrange(3))),
               CLASSES[label], f"{draw.uniform(-1, 1):.6f}", draw.randrange(40) if draw.random() < 0.9 else draw.randrange(200000), draw.randrange(5),
               draw.choice(["", "", "", "", "flood", "near_duplicate", "duplicate"]), *(f"{share / total:.6f}" for share in shares)]


class History(FolderTest):
    def setUp(self):
        super().setUp()
        self.env = {"FINCH_STATE": self.path("s.sqlite")}

    def history(self, *words, **more):
        return finch("history", *words, env=self.env, **more)

    def document(self, *words):
        return finch_json("history", *words, env=self.env)

    def write_rows(self, name, rows):
        with open(self.path(name), "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(rows)
        return self.path(name)

    def reference(self, source, ticker, bucket, first, last, by_reach, spam, near):
        """The same figures by a query over the file. Sums are of whole numbers, as the store keeps them."""
        weight = "least(1 + like_num + retweet_num, 100000)" if by_reach else "1"
        where = f"list_contains(string_split(upper(coalesce(ticker_symbol, '')), '|'), '{ticker}')" if ticker else "true"
        near_row, spam_row = "(dropped_reason IN ('duplicate', 'near_duplicate'))", "(dropped_reason = 'flood')"
        shares = ", ".join(f"sum(CASE WHEN counted AND label = '{name}' THEN w ELSE 0 END)::DOUBLE" for name in CLASSES)
        square = "(w * s * s + 500000) // 1000000" if by_reach else "(s * s + 5000) // 10000"
        return duckdb.sql(f"""
            WITH rows AS (SELECT *, coalesce({spam_row}, false) AS spam, coalesce({near_row}, false) AS near, CAST(round(score * 1e6) AS BIGINT) AS s, CAST({weight} AS BIGINT) AS w
                          FROM read_csv('{source}', types={{'body': 'VARCHAR', 'dropped_reason': 'VARCHAR', 'ticker_symbol': 'VARCHAR'}}) WHERE {where} AND post_date >= {first} AND post_date < {last}),
                 marked AS (SELECT *, (NOT spam OR {spam}) AND (NOT near OR {near}) AS counted FROM rows)
            SELECT date_trunc('{bucket}', make_timestamp(post_date * 1000000)) AS start, count(*) FILTER (counted), count(*) FILTER (spam), count(*) FILTER (near), sum(w) FILTER (counted)::DOUBLE,
                   sum(w * s) FILTER (counted)::DOUBLE, sum({square}) FILTER (counted)::DOUBLE, sum(w * w) FILTER (counted)::DOUBLE, {shares}
            FROM marked GROUP BY 1 ORDER BY 1""").fetchall()

    def check(self, source, ticker, bucket, word, first, last, by_reach, spam, near):
        words = ["sentiment", "--bucket", word]
        stamp = lambda seconds: datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        words += ["--from", stamp(first), "--to", stamp(last), *(["--ticker", ticker] if ticker else [])]
        words += [flag for flag, on in (("--by-reach", by_reach), ("--with-spam", spam), ("--with-near-duplicates", near)) if on]
        points = self.document(*words)["points"]
        expected = self.reference(source, ticker, bucket, first, last, by_reach, spam, near)
        self.assertEqual([row[0].strftime("%Y-%m-%dT%H:%M:%S.000Z") for row in expected], [point["start"] for point in points])
        for point, (_, n, n_spam, n_near, w, ws, wsq, w2, *shares) in zip(points, expected):
            self.assertEqual((n, n_spam, n_near), (point["count"], point["spam"], point["near_duplicates"]))
            if n == 0:
                self.assertIsNone(point["mean"])
                continue
            mean = ws / w / 1000000
            self.assertEqual(mean, point["mean"])
            self.assertEqual([share / w for share in shares], [point["shares"][name] for name in CLASSES])
            effective = w * w / w2 if by_reach else n
            if effective < 2:
                self.assertIsNone(point["low"])
                continue
            deviation = math.sqrt(max(wsq / w * (1e-6 if by_reach else 1e-8) - mean * mean, 0) * effective / (effective - 1))
            self.assertAlmostEqual(deviation, point["deviation"], delta=1e-12)
            self.assertAlmostEqual(point["mean"] - point["low"], point["high"] - point["mean"], delta=1e-12)

    def test_every_answer_equals_a_direct_query(self):
        source = self.write_rows("scored.csv", make_rows(1))
        done = self.document("import", "--input", source)
        self.assertEqual((N, N, 0, 0), (done["rows"], done["imported"], done["known"], done["skipped"]))
        draw = random.Random(2)
        for i, (bucket, word) in enumerate((("day", "1d"), ("hour", "1h"), ("week", "1w"), ("month", "1mo"), ("minute", "1m"), ("day", "1d"), ("hour", "1h"))):
            first = BEGIN + draw.randrange(86400 * 10)
            last = first + (draw.randrange(86400) if word == "1m" else draw.randrange(86400 * 55))
            self.check(source, ["", "TSLA", "BRK.B", "GME"][i % 4], bucket, word, first, last + 1, i % 2 == 1, i % 3 == 1, i % 3 == 2)

    def test_the_same_rows_count_once(self):
        source = self.write_rows("scored.csv", make_rows(3))
        self.document("import", "--input", source)
        again = self.document("import", "--input", source)
        self.assertEqual((0, N), (again["imported"], again["known"]))
        self.assertEqual(N, self.document("info")["rows"])

    def test_rows_come_back_and_can_leave(self):
        rows = [["up we go", "2024-01-31T10:00:00Z", "AAPL", "POSITIVE", "", 3, 0, "", "", "", "", "", ""],
                ["down", "1706702400", "$tsla, aapl", "0", "-0.75", 0, 0, "flood", "", "", "", "", ""],
                ["no time", "soon", "", "NEUTRAL", "0", 0, 0, "", "", "", "", "", ""],
                ["no label", "2024-01-31", "", "HAPPY", "0", 0, 0, "", "", "", "", "", ""]]
        done = self.document("import", "--input", self.write_rows("r.csv", rows), "--model", "hand@1")
        self.assertEqual((2, 2), (done["imported"], done["skipped"]))
        listed = self.document("rows", "--with-spam")["rows"]
        self.assertEqual(["down", "up we go"], [row["text"] for row in listed])
        self.assertEqual((["TSLA", "AAPL"], "STRONGLY_NEGATIVE", -0.75, True), tuple(listed[0][key] for key in ("tickers", "label", "score", "spam")))
        self.assertEqual((0.5, 3, "hand@1", "2024-01-31T10:00:00.000Z"), tuple(listed[1][key] for key in ("score", "reach", "model", "time")))
        self.document("export", "--output", self.path("out.jsonl"))
        with open(self.path("out.jsonl"), encoding="utf-8") as file:
            self.assertEqual({"up we go", "down"}, {json.loads(line)["text"] for line in file})
        self.assertEqual({"rows": 1}, finch_json("history", "forget", env=self.env, stdin=b"down\n"))
        self.assertEqual(["up we go"], [row["text"] for row in self.document("rows", "--with-spam")["rows"]])
        self.assertEqual({"rows": 1}, self.document("prune", "--before", "2025-01-01", "--only-texts"))
        self.assertEqual([None], [row["text"] for row in self.document("rows")["rows"]])
        self.document("prune", "--before", "2025-01-01")
        self.assertEqual([], self.document("rows")["rows"])
        self.assertEqual(1, self.document("sentiment")["points"][0]["count"])
        self.document("prune", "--before", "2025-01-01", "--no-keep-sums")
        self.assertEqual([], self.document("sentiment")["points"])

    def test_texts_are_not_kept_where_not_wanted(self):
        self.document("import", "--no-texts", "--input", self.write_rows("r.csv", [["private words", 1706702400, "", "NEUTRAL", "0", 0, 0, "", "", "", "", "", ""]]))
        with open(self.env["FINCH_STATE"], "rb") as file:
            self.assertNotIn(b"private words", file.read())

    def test_wrong_words_are_errors_with_their_remedy(self):
        source = self.write_rows("r.csv", [["a", "2024-01-31", "", "NEUTRAL", "0", 0, 0, "", "", "", "", "", ""]])
        for words, code, said in ((["import"], 2, "--input"), (["import", "--input", source, "--label-column", "klass"], 3, "klass"), (["sentiment", "--bucket", "2h"], 2, "1w"),
                                  (["sentiment", "--from", "soon"], 2, "2024-01-31"), (["prune"], 2, "--before"), (["export"], 2, "--output"),
                                  (["import", "--input", source, "--reach", "fans"], 3, "fans")):
            done = self.history(*words)
            self.assertEqual(code, done.returncode, (words, done.stderr))
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main()
