"""finch prepare: what goes in comes out, kept or dropped with a reason, whatever the format; bad input says what is wrong."""
import collections
import csv
import datetime
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

from finch_cli import PROGRAM, SOURCE, finch, finch_json

STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
ADDED = ["text", "tickers", "cluster_id"]
DROPPED = ["text", "tickers", "cluster_id", "kept_row", "dropped_reason"]
DROPPING_OFF = ["--no-short", "--no-language", "--no-duplicates", "--no-near-duplicates", "--no-floods"]


def tweet(n):
    """English texts as unlike as texts can be, each another one for each n."""
    words = ("apple margin guidance bounce wheat tariff semiconductor dividend breakout volume copper airline "
             "regulator outlook upgrade merger inflation payroll rotation buyback refinery short").split()
    return " ".join(["The", words[n % 22], "story is about the", words[n // 22 % 22], "and", words[n * 7 % 19], f"number{n}", "in my view"])


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def csv(self, name, rows, columns=("id", "writer", "body")):
        with open(self.path(name), "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(columns)
            out.writerows(rows)
        return self.path(name)

    def prepare(self, *inputs, output="out.parquet", words=(), **more):
        """(document, kept rows, dropped rows) of Parquet outputs."""
        document = finch_json("prepare", "--input", *inputs, "--output", self.path(output), *words, **more)
        kept, dropped = (pq.read_table(self.path(name)) for name in (output, output.replace(".parquet", ".dropped.parquet")))
        self.assertEqual(document["rows"], document["kept"] + document["dropped"])
        self.assertEqual((document["kept"], document["dropped"]), (kept.num_rows, dropped.num_rows))
        self.assertEqual(sum(document["dropped_for"].values()), document["dropped"])
        return document, kept.to_pylist(), dropped.to_pylist()

    def fails(self, *inputs, code=3, says=(), output="out.parquet", words=(), **more):
        """The error has the exit code and the words, and nothing lies beside the inputs."""
        before = set(os.listdir(self.folder))
        done = finch("prepare", "--input", *inputs, "--output", self.path(output), *words, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        for word in says:
            self.assertIn(word, done.stderr)
        self.assertTrue(done.stderr.splitlines()[-1].startswith("finch prepare: "), done.stderr)
        self.assertEqual(set(os.listdir(self.folder)), before)


class Stages(Folder):
    def test_every_row_goes_where_it_belongs(self):
        near = "RT @a: Breaking: the central bank of the country raised its rates by half a point today, markets fall"
        rows = [
            (1, "ann", near),
            (2, "bob", ""),
            (3, "bob", "$AAPL $GOOG http://t.co/abc"),
            (4, "cid", "Акции компании сегодня сильно упали из-за слабой отчетности, говорят аналитики"),
            (5, "bob", "@b Breaking: the central bank of the country raised its rates by half a point today, markets fall"),
            (6, "eve", "Apple beats on revenue &amp; raises its guidance http://t.co/1"),
            (7, "fay", "Apple  beats on revenue & raises its guidance http://t.co/other"),
            (8, "gus", "Breaking: the central bank of the country raised its rates by half a point today, markets fall hard"),
            *[(10 + i, "bot", f"Join our free chatroom now to trade ${symbol} with me at {i}% gains")
              for i, symbol in enumerate(("AA", "IBM", "TSLA", "NFLX", "INTC", "AMZN"))],
        ]
        document, kept, dropped = self.prepare(self.csv("a.csv", rows), words=["--near", "0.9"])
        self.assertEqual([row["id"] for row in kept], [1, 6, 10])
        self.assertEqual([(row["row"], row["dropped_reason"], row["kept_row"], row["cluster_id"]) for row in dropped], [
            (2, "no_text", None, None), (3, "short", None, None), (4, "language", None, None), (5, "near_duplicate", 1, 1),
            (7, "duplicate", 6, 6), (8, "near_duplicate", 1, 1), *[(at, "flood", 9, at) for at in range(10, 15)]])
        self.assertEqual([row["cluster_id"] for row in kept], [1, 6, 9])
        self.assertEqual(kept[1]["text"], "Apple beats on revenue & raises its guidance http")
        self.assertEqual(document["dropped_for"], {"no_text": 1, "short": 1, "language": 1, "duplicate": 1, "near_duplicate": 2, "flood": 5})

    def test_each_stage_can_be_turned_off(self):
        text = "Don&#39;t sell: Schwab â€™s new fund $TSLA http://t.co/1 via @someone"
        path = self.csv("a.csv", [(1, "a", text), (2, "a", text), (3, "a", text + " now"), (4, "a", "$IBM"),
                                  (5, "a", "Акции компании сегодня сильно упали, и никто не знает почему")])
        for flag, mark in (("entities", "&#39;"), ("repair", "â€™"), ("urls", "http://t.co/1"), ("users", "@someone")):
            _, kept, _ = self.prepare(path, words=[f"--no-{flag}"])
            self.assertIn(mark, kept[0]["text"], flag)
        _, kept, _ = self.prepare(path)
        self.assertEqual(kept[0]["text"], "Don't sell: Schwab ’s new fund $TSLA http via @user")
        self.assertEqual(kept[0]["tickers"][0], "TSLA")
        _, kept, _ = self.prepare(path, words=["--placeholders", "none"])
        self.assertEqual(kept[0]["text"], "Don't sell: Schwab ’s new fund $TSLA via")
        _, kept, _ = self.prepare(path, words=["--no-tickers"])
        self.assertEqual(kept[0]["tickers"], [])
        for flag, ids in (("short", [1, 4]), ("language", [1, 5]), ("near-duplicates", [1, 3])):
            _, kept, _ = self.prepare(path, words=[f"--no-{flag}"])
            self.assertEqual([row["id"] for row in kept], ids, flag)
        document, kept, _ = self.prepare(path, words=DROPPING_OFF)
        self.assertEqual((len(kept), document["dropped"]), (5, 0))
        _, kept, dropped = self.prepare(path, words=["--no-duplicates"])
        self.assertIn((2, "near_duplicate"), [(row["row"], row["dropped_reason"]) for row in dropped])

    def test_rows_without_a_text_are_no_duplicates(self):
        rows = [(1, "a", ""), (2, "b", "http://t.co/1 @a"), (3, "", "$AAPL $GOOG $AAPL and Apple"), (4, "", ""), (5, "c", "  ")]
        words = ["--no-short", "--no-near-duplicates", "--placeholders", "none"]
        document, kept, _ = self.prepare(self.csv("a.csv", rows), words=words)
        self.assertEqual((document["dropped"], [row["text"] for row in kept]), (0, [None, None, "$AAPL $GOOG $AAPL and Apple", None, None]))
        self.assertEqual(kept[2]["tickers"], ["AAPL", "GOOG"]) # each once
        floods = [(i, "", f"Todays hot pick of the room is ${'ABCDEFGH'[i]}XY at {i * 13} go") for i in range(8)]
        document, _, _ = self.prepare(self.csv("b.csv", floods), words=["--no-near-duplicates"])
        self.assertEqual(document["dropped_for"]["flood"], 0) # of nobody
        _, _, dropped = self.prepare(self.csv("c.csv", [(1, "a", "@user $AAPL http://t.co/1")]))
        self.assertEqual([row["dropped_reason"] for row in dropped], ["short"])

    def test_floods_are_counted_from_the_size_asked_for(self):
        rows = [(i, "bot" if i % 2 else "man", f"Todays hot pick of the room is ${'ABCDEFGH'[i]}{'XYZ'[i % 3]} at {i * 13} go") for i in range(8)]
        for size, n in (("3", 6), ("4", 6), ("5", 0)):
            document, _, _ = self.prepare(self.csv("a.csv", rows), words=["--no-near-duplicates", "--flood", size])
            self.assertEqual(document["dropped_for"]["flood"], n)
        document, _, _ = self.prepare(self.csv("b.csv", [row[::2] for row in rows], columns=("id", "body")),
                                      words=["--no-near-duplicates", "--flood", "3"])
        self.assertEqual(document["dropped_for"]["flood"], 0) # no author, no flood


class Tables(Folder):
    def test_real_tweets_in_every_format_give_the_same_rows(self):
        table = pq.read_table(STOCKNET).slice(0, 3000)
        rows = table.to_pylist()
        pq.write_table(table, self.path("a.parquet"))
        self.write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self.write("a.json", json.dumps(rows))
        plain = self.csv("a.csv", [list(row.values()) for row in rows], columns=table.column_names)
        with open(plain, "rb") as file:
            self.write("a.csv.gz", gzip.compress(file.read()))
        want = None
        for name in ("a.parquet", "a.csv", "a.csv.gz", "a.jsonl", "a.json"):
            document, kept, dropped = self.prepare(self.path(name))
            want = want or (kept, dropped)
            self.assertEqual((kept, dropped), want, name)
            self.assertGreater(document["dropped"], 100)
        for name in ("a.csv", "a.jsonl"):
            with open(self.path(name), "rb") as file:
                _, kept, dropped = self.prepare("-", stdin=file.read())
            self.assertEqual((kept, dropped), want, "stdin of " + name)
        ids = {row["tweet_id"] for row in want[0]} | {row["tweet_id"] for row in want[1]}
        self.assertEqual(ids, {row["tweet_id"] for row in rows})
        places = {row["tweet_id"]: at for at, row in enumerate(rows)}
        for rows_out in want:
            order = [places[row["tweet_id"]] for row in rows_out]
            self.assertEqual(order, sorted(order))

    def test_outputs_have_the_columns_and_types_of_the_input(self):
        table = pq.read_table(STOCKNET).slice(0, 500)
        pq.write_table(table, self.path("a.parquet"))
        self.prepare(self.path("a.parquet"))
        kept, dropped = pq.read_table(self.path("out.parquet")), pq.read_table(self.path("out.dropped.parquet"))
        self.assertEqual(kept.column_names, table.column_names + ADDED)
        self.assertEqual(dropped.column_names, ["row"] + table.column_names + DROPPED)
        for name in table.column_names:
            self.assertEqual(kept.schema.field(name).type, table.schema.field(name).type, name)
        import duckdb
        import pandas
        import polars
        self.assertEqual(polars.read_parquet(self.path("out.parquet")).schema["tickers"], polars.List(polars.String))
        self.assertEqual(len(pandas.read_parquet(self.path("out.parquet"))), kept.num_rows)
        self.assertEqual(duckdb.sql(f"SELECT typeof(tickers) FROM '{self.path('out.parquet')}' LIMIT 1").fetchall(), [("VARCHAR[]",)])

    def test_csv_and_jsonl_out(self):
        path = self.csv("a.csv", [("007", "x", "Buy $AAPL and $GOOG today"), ("2", "y", "Buy $AAPL and $GOOG today")])
        finch_json("prepare", "--input", path, "--output", self.path("o.csv"), "--no-floods")
        with open(self.path("o.csv"), newline="", encoding="utf-8") as file:
            self.assertEqual(list(csv.DictReader(file)), [{"id": "007", "writer": "x", "body": "Buy $AAPL and $GOOG today",
                                                           "text": "Buy $AAPL and $GOOG today", "tickers": "AAPL|GOOG", "cluster_id": "1"}])
        with open(self.path("o.dropped.csv"), newline="", encoding="utf-8") as file:
            self.assertEqual([row["dropped_reason"] for row in csv.DictReader(file)], ["duplicate"])
        done = finch("prepare", "--input", path, "--output", "-", "--dropped", self.path("d.jsonl"), "--quiet")
        self.assertEqual([json.loads(line)["tickers"] for line in done.stdout.splitlines()], [["AAPL", "GOOG"]])

    def test_names(self):
        path = self.csv("a.csv", [(1, "x", tweet(1)), (2, "y", tweet(2))], columns=("id", "user", "text"))
        _, kept, _ = self.prepare(path, words=["--text-column", "text", "--map", "tweet_id=id", "writer=user"])
        self.assertEqual(list(kept[0]), ["tweet_id", "writer", "body", *ADDED])
        _, kept, _ = self.prepare(path, words=["--map", "body=text"])
        self.assertEqual(list(kept[0]), ["id", "user", "body", *ADDED])
        done = finch("prepare", "--input", path, "--output", self.path("x.parquet"), "--text-column", "text")
        self.assertIn("id BIGINT, user VARCHAR, body VARCHAR", done.stderr)
        _, kept, _ = self.prepare(path)
        self.assertEqual(list(kept[0]), ["id", "user", "body", *ADDED])
        other = self.csv("other.csv", [(1, "x", tweet(1))], columns=("id", "user", "tweet"))
        self.fails(other, says=["no column \"body\"", "--text-column tweet"])
        self.fails(path, code=2, says=["--map body", "NEW=OLD"], words=["--map", "body"])
        self.fails(path, code=2, says=["would be called \"id\""], words=["--text-column", "text", "--map", "id=user"])
        clash = self.csv("b.csv", [(1, 2, tweet(3))], columns=("tickers", "row", "body"))
        self.fails(clash, code=2, says=["tickers", "--map input_tickers=tickers"])
        _, kept, _ = self.prepare(clash, words=["--map", "t=tickers", "r=row"])
        self.assertEqual(list(kept[0]), ["t", "r", "body", *ADDED])

    def test_files_with_other_columns_are_united(self):
        a = self.csv("a.csv", [(1, "x", tweet(1))])
        b = self.csv("b.csv", [(tweet(2), 7)], columns=("body", "likes"))
        _, kept, _ = self.prepare(a, b)
        self.assertEqual([(row["id"], row["likes"]) for row in kept], [(1, None), (None, 7)])
        c = self.csv("c.csv", [(1, tweet(3))], columns=("id", "message"))
        self.fails(a, c, says=["c.csv has no column \"body\"", "message"])

    def test_threads_and_runs_give_the_same_bytes(self):
        table = pq.read_table(STOCKNET).slice(0, 9000)
        pq.write_table(table, self.path("a.parquet"), row_group_size=700)
        seen = set()
        for threads in ("1", "2", "4", "2"):
            finch_json("prepare", "--input", self.path("a.parquet"), "--output", self.path("o.jsonl"), "--threads", threads)
            seen.add("".join(self.read(name) for name in ("o.jsonl", "o.dropped.jsonl", "o.report.json", "o.report.html")))
        self.assertEqual(len(seen), 1)


class OnePass(Folder):
    """Where no stage looks ahead there is no temporary file; with a report there is one. Both ways give the same tables."""

    words = ["--no-near-duplicates", "--no-floods"]

    def both_ways(self, *inputs, words=()):
        more = self.prepare(*inputs, output="two.parquet", words=[*self.words, *words])
        one = self.prepare(*inputs, output="one.parquet", words=[*self.words, *words, "--no-report"])
        self.assertGreater(more[0]["seconds_comparing"], 0)
        self.assertEqual(one[0]["seconds_comparing"], 0)  # else this test would compare one way with itself
        for name in ("parquet", "dropped.parquet"):
            a, b = pq.read_table(self.path("one." + name)), pq.read_table(self.path("two." + name))
            self.assertTrue(a.schema.equals(b.schema), (a.schema, b.schema))
            self.assertTrue(a.equals(b), name)
        self.assertEqual(one[0]["dropped_for"], more[0]["dropped_for"])
        return one

    def test_the_tables_are_those_of_two_passes(self):
        table = pq.read_table(STOCKNET)
        path = self.path("tweets.csv")
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(table.column_names)
            for part in (table.slice(0, 30000), table.slice(0, 9000), table.slice(20000, 30000)):
                values = [[v.replace("\r", " ") if isinstance(v, str) else v for v in part[name].to_pylist()] for name in part.column_names]
                out.writerows(zip(*values))
        for words in ([], ["--no-duplicates"], ["--threads", "1"], ["--no-tickers", "--no-language", "--no-short", "--threads", "5"]):
            document = self.both_ways(path, words=words)[0]
            self.assertEqual(document["rows"], 69000)
            self.assertGreater(document["dropped_for"]["duplicate"], -1 if "--no-duplicates" in words else 19000)
        self.assertEqual(pq.read_schema(self.path("one.parquet")).field("tweet_id").type, pa.int64())

    def test_types_nulls_and_renamings(self):
        rows = 5000
        table = pa.table({"when": pa.array([None if i % 7 == 0 else i * 10**6 for i in range(rows)], pa.timestamp("us")), "text": [None if i % 11 == 0 else tweet(i % 900) for i in range(rows)],
                          "flag": pa.array([i % 3 == 0 if i % 5 else None for i in range(rows)]), "real": pa.array([i / 3 for i in range(rows)], pa.float32()),
                          "day": pa.array(range(rows), pa.date32()), "small": pa.array([i % 100 for i in range(rows)], pa.uint8()), "none": pa.array([""] * rows)})
        pq.write_table(table, self.path("a.parquet"), row_group_size=1700)
        self.both_ways(self.path("a.parquet"), words=["--text-column", "text", "--map", "id=small"])

    def test_other_types_take_two_passes(self):
        pq.write_table(pa.table({"body": ["one of these", "one of these"], "l": pa.array([[1], [2, 3]])}), self.path("a.parquet"))
        document = self.prepare(self.path("a.parquet"), words=[*self.words, "--no-report"])[0]
        self.assertEqual((document["kept"], document["dropped_for"]["duplicate"]), (1, 1))

    def test_what_fails_behind_is_told(self):
        """A table that can not be written ends the run, and nothing is left."""
        path = self.csv("in.csv", [(i, "w", tweet(i)) for i in range(40000)])
        done = subprocess.run(["bash", "-c", f"ulimit -f 300; exec {PROGRAM} prepare --input {path} --output {self.path('o.parquet')} {' '.join(self.words)} --no-report"],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("could not be written whole", done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["in.csv"])

    def test_a_step_that_needs_more_memory_says_so(self):
        """Rows of a megabyte: a group of them is more than a step begins with."""
        off = [*DROPPING_OFF, "--no-report"]
        path = self.csv("wide.csv", [(i, "w", f"{tweet(i)} " * (1_500_000 // len(tweet(i)))) for i in range(60)])
        self.assertGreater(self.prepare(path, words=off)[0]["steps_repeated"], 0)
        self.assertEqual(self.prepare(self.csv("in.csv", [(1, "w", tweet(1))]), words=off)[0]["steps_repeated"], 0)
        self.fails(path, code=1, says=["--memory-limit", "rows like these"], words=[*off, "--memory-limit", "400MiB"])

    def test_jsonl_in_memory_that_does_not_grow_with_it(self):
        """The keys of all rows, in the order they come in, and no text of all rows for them."""
        with open(self.path("in.jsonl"), "w", encoding="utf-8") as file:
            for i in range(150000):
                row = {"id": i, "body": tweet(i) + " padding" * 12} | ({"late": i / 2} if i == 70000 else {}) | ({"last": None} if i > 140000 else {})
                file.write(json.dumps(row) + "\n")
        document, kept, _ = self.prepare(self.path("in.jsonl"), words=[*DROPPING_OFF, "--no-report"])
        self.assertEqual(list(kept[0])[:4], ["id", "body", "late", "last"])
        self.assertEqual((kept[70000]["late"], len(kept)), (35000.0, 150000))
        if "FINCH_SANITIZED" not in os.environ:
            self.assertLess(document["peak_rss_bytes"], 320 << 20)

    def test_little_memory(self):
        path = self.csv("in.csv", [(i, "w", tweet(i)) for i in range(60000)])
        document = self.prepare(path, words=[*self.words, "--no-report", "--memory-limit", "370MiB"])[0]
        self.assertEqual(document["rows"], 60000)


class Report(Folder):
    def test_the_report_adds_up(self):
        document, _, _ = self.prepare(STOCKNET)
        with open(self.path("out.report.json"), encoding="utf-8") as file:
            report = json.load(file)
        self.assertEqual([report[key] for key in ("rows", "kept", "dropped")], [document[key] for key in ("rows", "kept", "dropped")])
        self.assertEqual(report["stages"][-1]["rows_left"], document["kept"])
        self.assertEqual(sum(stage.get("dropped", 0) for stage in report["stages"]), document["dropped"])
        self.assertEqual(sum(row["rows"] for row in report["lengths"]), document["kept"])
        self.assertEqual(sum(row["rows"] for row in report["months"]), document["rows"])
        self.assertEqual(sum(row["kept"] for row in report["months"]), document["kept"])
        dates = [datetime.datetime.fromtimestamp(at, datetime.timezone.utc) for at in pq.read_table(STOCKNET)["post_date"].to_pylist()]
        self.assertEqual([(row["month"], row["rows"]) for row in report["months"]], sorted(collections.Counter(f"{at:%Y-%m}" for at in dates).items()))
        self.assertEqual(report["tickers"][0]["symbol"], "AAPL")
        self.assertGreater(report["near_duplicates"][0]["dropped_rows"], 1)
        self.assertEqual(report["duplicates"][0]["row"], report["duplicates"][0]["kept_row"])
        with open(self.path("out.report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertNotIn("<script", page)
        self.assertNotRegex(page, r'(?:src|href)="')
        for word in ("near-duplicates", "Floods", "AAPL", f"{document['kept']} kept"):
            self.assertIn(word, page)

    def test_hostile_texts_stay_text(self):
        rows = [(i, "<img src=x>", f"<script>alert({i})</script> is what the page must never run, whatever it holds") for i in range(2)]
        self.prepare(self.csv("a.csv", [*rows, *rows]), words=["--no-entities"])
        with open(self.path("out.report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("&lt;script&gt;", page)
        self.assertNotRegex(page, "<script|<img")

    def test_no_report(self):
        self.prepare(self.csv("a.csv", [(1, "x", tweet(1))]), words=["--no-report"])
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.csv", "out.dropped.parquet", "out.parquet"])


class BadInput(Folder):
    def test_broken_rows_are_counted_and_kept_aside(self):
        lines = ["id,writer,body"]
        for i in range(3000):
            lines.append(f'{i},w{i},"a ""quoted"" {tweet(i)}"' if i % 100 else f"{i},w{i},{tweet(i)},too,many")
        path = self.write("a.csv", "\n".join(lines) + "\n")
        document, kept, dropped = self.prepare(path, words=["--no-near-duplicates"])
        self.assertEqual((document["rows"], document["rejected"]), (2970, 30))
        with open(self.path("rejects.csv"), newline="", encoding="utf-8") as file:
            rejects = list(csv.DictReader(file))
        self.assertEqual([int(row["line"]) for row in rejects], [2 + i for i in range(0, 3000, 100)])
        ids = sorted(row["id"] for row in kept + dropped)
        self.assertEqual(ids, [i for i in range(3000) if i % 100])
        os.remove(self.path("rejects.csv"))
        for name in ("out.parquet", "out.dropped.parquet", "out.report.json", "out.report.html"):
            os.remove(self.path(name))
        self.fails(path, says=["a.csv line 2", "--strict"], words=["--strict"])

    def test_mixed_encodings(self):
        lines = [b"id,body", b"1,caf\xc3\xa9 prices are rising again", b"2,caf\xe9 prices are rising again", b"3,plain prices are rising"]
        document, kept, _ = self.prepare(self.write("a.csv", b"\n".join(lines) + b"\n"))
        self.assertEqual((document["rejected"], [row["id"] for row in kept]), (1, [1, 3]))
        _, kept, _ = self.prepare(self.write("b.csv", lines[0] + b"\n" + lines[2] + b"\n"))
        self.assertEqual(kept[0]["text"], "café prices are rising again")
        _, kept, _ = self.prepare(self.write("c.csv", "id,body\n1,café prices are rising again\n".encode("utf-16")))
        self.assertEqual(kept[0]["text"], "café prices are rising again")

    def test_files_that_are_none(self):
        self.fails(self.write("empty.csv", b""), says=["empty.csv is empty"])
        table = pa.table({"body": [tweet(i) for i in range(2000)]})
        pq.write_table(table, self.path("whole.parquet"))
        with open(self.path("whole.parquet"), "rb") as file:
            whole = file.read()
        self.fails(self.write("cut.parquet", whole[:len(whole) // 2]), says=["cut.parquet was cut"])
        self.fails(self.write("open.csv", 'id,body\n1,"never closed\n2,x\n'), says=["open.csv line 2", "never closed"])
        self.fails(self.write("cut.csv.gz", gzip.compress(b"id,body\n" + os.urandom(9000))[:3000]), says=["cut.csv.gz was cut"])
        self.fails(self.path("missing.csv"), code=1, says=["missing.csv"])
        pq.write_table(pa.table({"body": [1, 2, 3]}), self.path("numbers.parquet"))
        self.fails(self.path("numbers.parquet"), says=["holds BIGINT, not texts", "--text-column"])

    def test_an_endless_line_is_one_broken_row_in_little_memory(self):
        with open(self.path("a.csv"), "wb") as file:
            file.write(b"id,body\n1,good news for all of us\n2,")
            for _ in range(160):
                file.write(b"x" * (1 << 20))
            file.write(b"\n3,bad news for all of us\n")
        document, kept, _ = self.prepare(self.path("a.csv"), words=["--memory-limit", "512MiB"])
        self.assertEqual((document["rejected"], [row["id"] for row in kept]), (1, [1, 3]))
        with open(self.path("rejects.csv"), newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))[0]
        self.assertEqual((found["line"], found["file"]), ("3", self.path("a.csv")))
        self.assertIn("more than 2000000", found["reason"])
        self.assertLess(document["peak_rss_bytes"], 300 << 20)

    def test_usage(self):
        path = self.csv("a.csv", [(1, "x", tweet(1))])
        self.fails(path, code=1, says=["--memory-limit"], words=["--memory-limit", "10MiB"])
        self.fails(path, code=2, says=["--memory-limit"], words=["--memory-limit", "much"])
        self.fails(path, code=2, says=["ending"], output="out.xyz")
        self.fails(path, "-", "-", code=2, says=["twice"])
        self.fails(path, code=3, says=["no column \"nobody\""], words=["--author-column", "nobody"])
        done = finch("prepare", "--input", path, "--output", "-")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--dropped", done.stderr)


if __name__ == "__main__":
    unittest.main()
