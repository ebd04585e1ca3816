"""What finch writes, opened by Polars, pandas and DuckDB's Python: the types people expect, and the same values in all three."""
import json
import math
import os
import subprocess
import tempfile
import unittest

import duckdb
import pandas as pd
import polars as pl

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))
TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
LARGE_ID = 9007199254740993  # the first whole number that a double does not have


class Tables(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="finch-python-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.source = self.path("source.jsonl")
        with open(self.source, "w", encoding="utf-8") as file:
            for i in range(40):
                row = {"tweet_id": LARGE_ID + i, "text": None if i == 3 else f"$AAPL rises {i * 7919} \u20ac\U0001F680", "label": "AB"[i % 2], "when": f"2020-04-{1 + i % 28:02d} 10:00:00",
                       "likes": i, "price": i / 8, "good": i % 2 == 0, "tickers": ["AAPL"] if i % 2 else []}
                file.write(json.dumps(row) + "\n")

    def path(self, name):
        return os.path.join(self.folder, name)

    def finch(self, *words):
        done = subprocess.run([PROGRAM, *words, "--quiet"], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def check(self, path, types):
        """types: column -> (Polars type, pandas kind of dtype, DuckDB type)."""
        polars, pandas, duck = pl.read_parquet(path), pd.read_parquet(path), duckdb.sql(f"SELECT * FROM '{path}'")
        kinds = {"i": pd.api.types.is_integer_dtype, "f": pd.api.types.is_float_dtype, "b": pd.api.types.is_bool_dtype, "s": pd.api.types.is_string_dtype,
                 "t": pd.api.types.is_datetime64_any_dtype, "o": pd.api.types.is_object_dtype}
        for name, (in_polars, in_pandas, in_duck) in types.items():
            self.assertEqual(polars.schema[name], in_polars, (path, name))
            self.assertTrue(kinds[in_pandas](pandas[name]), (path, name, pandas[name].dtype))
            self.assertEqual(str(dict(zip(duck.columns, duck.types))[name]), in_duck, (path, name))
        rows = [dict(zip(duck.columns, row)) for row in duck.fetchall()]
        self.assertEqual(polars.to_dicts(), rows)
        for name in ("tweet_id", "likes"):
            if name in types:
                self.assertEqual(pandas[name].tolist(), [row[name] for row in rows])
        return rows

    plain = {"tweet_id": (pl.Int64, "i", "BIGINT"), "text": (pl.String, "s", "VARCHAR"), "likes": (pl.Int64, "i", "BIGINT"), "price": (pl.Float64, "f", "DOUBLE"),
             "good": (pl.Boolean, "b", "BOOLEAN"), "when": (pl.String, "s", "VARCHAR"), "tickers": (pl.List(pl.String), "o", "VARCHAR[]")}

    when = (pl.Datetime("us"), "t", "TIMESTAMP")

    def test_times_and_types_of_csv(self):
        """JSON has no times and its texts stay texts; a CSV column whose every value is a time is one."""
        self.finch("data", "convert", self.source, "--output", self.path("a.csv"))
        self.finch("data", "convert", self.path("a.csv"), "--output", self.path("a.parquet"))
        self.check(self.path("a.parquet"), {**{n: self.plain[n] for n in ("tweet_id", "text", "likes", "price", "good")}, "when": self.when})

    def test_convert(self):
        self.finch("data", "convert", self.source, "--output", self.path("a.parquet"))
        rows = self.check(self.path("a.parquet"), self.plain)
        self.assertEqual([row["tweet_id"] for row in rows], [LARGE_ID + i for i in range(40)])
        self.assertEqual(rows[1]["tickers"], ["AAPL"])

    def test_split(self):
        self.finch("split", "--input", self.source, "--train", self.path("a.parquet"), "--test", self.path("b.parquet"), "--clusters", "none")
        rows = self.check(self.path("a.parquet"), self.plain) + self.check(self.path("b.parquet"), self.plain)
        self.assertEqual(sorted(row["tweet_id"] for row in rows), [LARGE_ID + i for i in range(40)])
        self.finch("split", "--input", self.source, "--folds", "3", "--output", self.path("f.parquet"), "--clusters", "none")
        self.check(self.path("f.parquet"), {**self.plain, "fold": (pl.Int32, "i", "INTEGER")})

    def test_split_by_time_and_folders_of_folds(self):
        names = [self.path(name) for name in ("train.parquet", "valid.parquet", "test.parquet")]
        self.finch("split", "--input", self.source, "--by", "time", "--time-column", "when", "--clusters", "none", "--train", names[0], "--valid", names[1], "--test", names[2])
        rows = [row for name in names for row in self.check(name, self.plain)]
        self.assertEqual(sorted(row["tweet_id"] for row in rows), [LARGE_ID + i for i in range(40)])
        self.finch("split", "--input", self.source, "--folds", "2", "--output", self.path("folds"), "--clusters", "none")
        rows = [row for fold in range(2) for row in self.check(self.path(f"folds/fold-{fold}/valid.parquet"), self.plain)]
        self.assertEqual(sorted(row["tweet_id"] for row in rows), [LARGE_ID + i for i in range(40)])

    def test_prepare(self):
        """Both tables: what is kept and what was dropped, with the columns of the input and those that the stages add. A text that is
        null has no cluster, and whole numbers with a null among them are floats in pandas."""
        with open(self.source, encoding="utf-8") as file:
            first = file.readline()
        with open(self.source, "a", encoding="utf-8") as file:
            file.write(first.replace(str(LARGE_ID), str(LARGE_ID + 40)))  # an exact duplicate
        self.finch("prepare", "--input", self.source, "--text-column", "text", "--output", self.path("p.parquet"), "--map", "input_tickers=tickers", "--no-near-duplicates",
                   "--no-language", "--no-floods", "--no-report")
        columns = {**self.plain, "input_tickers": self.plain["tickers"], "body": (pl.String, "s", "VARCHAR"), "cluster_id": (pl.Int64, "i", "BIGINT")}
        kept = self.check(self.path("p.parquet"), columns)
        dropped = self.check(self.path("p.dropped.parquet"), {**columns, "cluster_id": (pl.Int64, "f", "BIGINT"), "row": (pl.Int64, "i", "BIGINT"), "dropped_reason": (pl.String, "s", "VARCHAR")})
        self.assertEqual(sorted(row["tweet_id"] for row in kept + dropped), [LARGE_ID + i for i in range(41)])
        self.assertEqual({row["dropped_reason"] for row in dropped}, {"no_text", "duplicate"})
        self.assertTrue(all(row["tickers"] == ["AAPL"] for row in kept))

    def test_score(self):
        self.finch("score", "--model", TINY, "--text-column", "text", "--input", self.source, "--output", self.path("s.parquet"), "--prefix", "f_")
        rows = self.check(self.path("s.parquet"), {**self.plain, "f_label": (pl.String, "s", "VARCHAR"), "f_score": (pl.Float32, "f", "FLOAT")})
        self.assertIsNone(rows[3]["f_score"])
        self.assertTrue(all(math.isfinite(row["f_score"]) for row in rows if row["text"]))

    def test_sql(self):
        self.finch("sql", f"SELECT tweet_id, text, finch_score(text) AS score, finch_tickers(text) AS tickers, TIMESTAMP '2020-01-02 03:04:05' AS \"when\", good "
                   f"FROM '{self.source}'", "--model", TINY, "--output", self.path("q.parquet"))
        rows = self.check(self.path("q.parquet"), {**{n: self.plain[n] for n in ("tweet_id", "text", "good", "tickers")}, "when": self.when, "score": (pl.Float64, "f", "DOUBLE")})
        self.assertEqual(rows[0]["tickers"], ["AAPL"])

    def test_text_formats(self):
        for ending, read in {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "json": pl.read_json}.items():
            self.finch("data", "convert", self.source, "--output", self.path("a." + ending))
            self.assertEqual(read(self.path("a." + ending))["tweet_id"].to_list(), [LARGE_ID + i for i in range(40)], ending)
        self.assertEqual(pd.read_csv(self.path("a.csv"))["tweet_id"].tolist(), [LARGE_ID + i for i in range(40)])
        self.assertEqual(duckdb.sql(f"SELECT text FROM '{self.path('a.jsonl')}'").fetchall(), [(row["text"],) for row in pl.read_ndjson(self.source).to_dicts()])


if __name__ == "__main__":
    unittest.main()
