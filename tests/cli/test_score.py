"""finch score on real files: every format in and out, broken input of every kind, pipes, and the promises about outputs."""
import csv
import gzip
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finch_cli import PROGRAM, SOURCE, finch, finch_json, unprivileged

TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
LABELS = ["strongly_negative", "negative", "neutral", "positive", "strongly_positive"]
ADDED = ["label", "score", *(f"prob_{name}" for name in LABELS), "truncated"]
RAGGED = 'id,body\n1,"two\nlines"\n2\n3,"say ""hi"""\n4,a,b\n5,"x"y\n6,last\n'


def score(*words, **more):
    return finch("score", "--model", TINY, *words, **more)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-score-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        return path

    def rows(self, path):
        """A CSV as a list of dicts."""
        opened = gzip.open(path, "rt", newline="", encoding="utf-8") if path.endswith(".gz") else open(path, newline="", encoding="utf-8")
        with opened as file:
            return list(csv.DictReader(file, delimiter="\t" if ".tsv" in path else ","))

    def scored(self, *inputs, output="out.csv", code=0, words=(), **more):
        """Runs score; the rows of the CSV it wrote."""
        out = self.path(output)
        done = score("--input", *inputs, "--output", out, *words, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        return self.rows(out) if code == 0 and output.endswith((".csv", ".csv.gz", ".tsv")) else done

    def fails(self, *inputs, code=3, says=(), output="out.csv", words=(), **more):
        """The error has the exit code and the words, is one line, and nothing lies beside the inputs."""
        before = set(os.listdir(self.folder))
        done = score("--input", *inputs, "--output", self.path(output), *words, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        for word in says:
            self.assertIn(word, done.stderr)
        self.assertTrue(done.stderr.splitlines()[-1].startswith("finch score: "), done.stderr)
        self.assertEqual(set(os.listdir(self.folder)), before)
        return done


class Formats(Folder):
    def test_csv_passes_every_value_through(self):
        path = self.write("a.csv", 'tweet_id,code,body,n\r\n459099988388442112,007,"a, ""b""\r\nc",1.50\r\n2,,plain,\r\n')
        rows = self.scored(path)
        self.assertEqual(list(rows[0]), ["tweet_id", "code", "body", "n", *ADDED])
        self.assertEqual([rows[0][k] for k in ("tweet_id", "code", "body", "n")], ["459099988388442112", "007", 'a, "b"\r\nc', "1.50"])
        for row in rows:
            probabilities = [float(row[f"prob_{name}"]) for name in LABELS]
            self.assertAlmostEqual(sum(probabilities), 1, places=5)
            self.assertEqual(row["label"].lower(), LABELS[probabilities.index(max(probabilities))])
            self.assertAlmostEqual(float(row["score"]), sum(p * (i - 2) / 2 for i, p in enumerate(probabilities)), places=5)
            self.assertEqual(row["truncated"], "false")

    def test_separators_marks_and_encodings(self):
        for name, content, want in [
            ("semi.csv", "id;body\n1;x, y\n2;z\n", ["x, y", "z"]),
            ("tab.tsv", "id\tbody\n1\tx; y\n", ["x; y"]),
            ("bar.txt", "id|body\n1|x\n", ["x"]),
            ("bom.csv", b"\xef\xbb\xbfbody,id\nx,1\n", ["x"]),
            ("utf16.csv", "body,id\n\U0001F680 caf\u00e9,1\n".encode("utf-16"), ["\U0001F680 caf\u00e9"]),
            ("latin.csv", "body,id\ncaf\u00e9,1\n".encode("latin-1"), ["caf\u00e9"]),
            ("blank.csv", "\n\nbody,id\n\nx,1\n\n\ny,2\n", ["x", "y"]),
            ("old-mac.csv", "body,id\rx,1\ry,2\r", ["x", "y"]),
        ]:
            with self.subTest(name):
                self.assertEqual([row["body"] for row in self.scored(self.write(name, content))], want)

    def test_the_texts_may_be_called_text(self):
        path = self.write("a.csv", "id,text\n1,up we go\n")
        self.assertEqual([row["text"] for row in self.scored(path)], ["up we go"])
        pq.write_table(pa.table({"id": [1], "text": ["up we go"]}), self.path("a.parquet"))
        self.assertEqual([row["text"] for row in self.scored(self.path("a.parquet"))], ["up we go"])
        done = finch("score", "--input", "-", "--output", "-", "--quiet", stdin=b'{"text":"up we go"}\n{"texts":"up"}\n')
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertIn("label", answers[0])
        self.assertIn('no key "body"', answers[1]["error"])
        done = finch("score", "--input", "-", "--output", "-", "--quiet", "--text-column", "body", stdin=b'{"text":"up we go"}\n')
        self.assertIn('no key "body"', json.loads(done.stdout)["error"])

    def test_the_real_semicolon_file(self):
        path = os.path.join(SOURCE, "data", "spx", "tweets_2020.csv")
        rows = self.scored(path, words=["--text-column", "text", "--limit", "300"])
        with open(path, newline="", encoding="utf-8") as file:
            want = [row for _, row in zip(range(300), csv.DictReader(file, delimiter=";"))]
        self.assertEqual([[row[k] for k in want[0]] for row in rows], [list(row.values()) for row in want])
        self.assertTrue(any("\n" in row["text"] for row in rows))

    def test_parquet_keeps_its_types(self):
        table = pa.table({
            "tweet_id": pa.array([2**62 + 1, 2, None], pa.int64()), "body": ["up", "down", None],
            "when": pa.array([1, 2, 3], pa.timestamp("us")), "day": pa.array([1, 2, 3], pa.date32()), "price": pa.array([1.5, None, -0.0]),
            "small": pa.array([1, 2, 3], pa.uint8()), "flag": [True, None, False], "list": [[1, 2], [], None],
            "money": pa.array([1, 2, 3], pa.decimal128(9, 2)), "nested": [{"a": 1, "b": "x"}, None, {"a": 2, "b": None}],
        })
        pq.write_table(table, self.path("a.parquet"))
        self.scored(self.path("a.parquet"), output="out.parquet", words=["--logits"])
        out = pq.read_table(self.path("out.parquet"))
        self.assertEqual(out.column_names, table.column_names + ADDED[:-1] + [f"logit_{name}" for name in LABELS] + ["truncated"])
        for name in table.column_names:
            self.assertEqual(out[name].to_pylist(), table[name].to_pylist(), name)
            if name not in ("list", "nested"):  # the names of their inner fields are the writer's own
                self.assertEqual(out.schema.field(name).type, table.schema.field(name).type, name)
        self.assertEqual([out["label"][2].as_py(), out["score"][2].as_py()], [None, None])
        self.assertEqual(out.schema.field("score").type, pa.float32())

    def test_csv_to_parquet_finds_types_that_hold_for_every_row(self):
        late = "\n".join(f"{i},x,{i},1.5,2020-01-0{i % 9 + 1},2020-01-01 00:00:0{i % 9},true,007,12345678901234567890,,{'' if i < 9000 else i}" for i in range(30000))
        path = self.write("a.csv", f"id,body,late,real,day,time,flag,zeros,long,none,sparse\n{late}\n30000,y,n/a,7,,,,1,2,,3\n")
        self.scored(path, output="out.parquet")
        schema = {f.name: str(f.type) for f in pq.read_schema(self.path("out.parquet"))}
        self.assertEqual({k: schema[k] for k in ("id", "body", "late", "real", "day", "time", "flag", "zeros", "long", "none", "sparse")}, {
            "id": "int64", "body": "string", "late": "string", "real": "double", "day": "date32[day]",
            "time": "timestamp[us]", "flag": "bool", "zeros": "string", "long": "string", "none": "string", "sparse": "int64"})

    def test_jsonl_in_and_out(self):
        lines = [{"id": 2**63 + 5, "body": "up", "who": {"name": "a", "tags": ["x"]}}, {"id": 1, "body": None}, {"id": 3, "body": "caf\u00e9 \U0001F680\nline", "extra": True}]
        path = self.write("a.jsonl", "\n\n".join(json.dumps(line) for line in lines))
        self.scored(path, output="out.jsonl")
        with open(self.path("out.jsonl"), encoding="utf-8") as file:
            out = [json.loads(line) for line in file]
        self.assertEqual([row["id"] for row in out], [line["id"] for line in lines])
        self.assertEqual([row["body"] for row in out], [line["body"] for line in lines])
        self.assertEqual(out[0]["who"], lines[0]["who"])
        self.assertEqual((out[2]["extra"], out[0]["extra"], out[1]["label"]), (True, None, None))

    def test_every_output_format_holds_the_same(self):
        path = self.write("a.csv", 'id,body\n1,"x, y"\n2,"two\nlines"\n')
        want = [(row["id"], row["body"], row["label"], float(row["score"])) for row in self.scored(path)]
        readers = {".tsv": "read_csv('{}', delim='\t')", ".csv.gz": "'{}'", ".csv.zst": "'{}'", ".jsonl": "'{}'", ".jsonl.gz": "read_json('{}')",
                   ".jsonl.zst": "read_json('{}')", ".json": "'{}'", ".parquet": "'{}'"}
        for ending, reader in readers.items():
            with self.subTest(ending):
                self.scored(path, output="o" + ending, words=["--quiet"])
                rows = duckdb.sql("SELECT id, body, label, score FROM " + reader.format(self.path("o" + ending))).fetchall()
                self.assertEqual([(str(r[0]), r[1], r[2]) for r in rows], [w[:3] for w in want])
                for row, expected in zip(rows, want):
                    self.assertAlmostEqual(row[3], expected[3], places=6)

    def test_compressed_inputs(self):
        plain = "id,body\n" + "".join(f"{i},text {i}\n" for i in range(5000))
        self.write("a.csv.gz", gzip.compress(plain.encode()[:1000]) + gzip.compress(plain.encode()[1000:]))  # two members
        self.write("b.csv", plain)
        duckdb.sql(f"COPY (FROM '{self.path('b.csv')}') TO '{self.path('c.csv.zst')}' (FORMAT csv, COMPRESSION zstd)")
        for name in ("a.csv.gz", "c.csv.zst"):
            self.assertEqual([row["id"] for row in self.scored(self.path(name))], [str(i) for i in range(5000)])

    def test_several_files_and_globs_in_order(self):
        self.write("b1.csv", "id,body\n1,x\n")
        self.write("b2.csv", "body,id,extra\ny,2,e\n")
        self.write("a.jsonl", '{"id":0,"body":"z"}\n')
        rows = self.scored(self.path("b*.csv"), self.path("a.jsonl"), output="out.csv")
        self.assertEqual([(r["id"], r["body"], r["extra"]) for r in rows], [("1", "x", ""), ("2", "y", "e"), ("0", "z", "")])

    def test_names_that_sql_or_globs_would_misread(self):
        name = "it's; [a] \"*\" --.csv"
        self.write(name, 'id,"the ""body"" \'; --"\n1,x\n')
        rows = self.scored(self.path(name), output="o'ut.csv", words=["--text-column", "the \"body\" '; --"])
        self.assertEqual(rows[0]["the \"body\" '; --"], "x")


class Rows(Folder):
    def test_order_and_scores_hold_over_the_whole_table(self):
        done = finch_json("score", "--model", TINY, "--input", STOCKNET, "--output", self.path("out.parquet"))
        source, out = pq.read_table(STOCKNET), pq.read_table(self.path("out.parquet"))
        for name in source.column_names:
            self.assertTrue(source[name].combine_chunks().equals(out[name].combine_chunks()), name)
        self.assertEqual((done["rows"], done["scored"], done["skipped"], done["rejected"]), (96826, 96826, 0, 0))
        probabilities = [pc.cast(out[f"prob_{name}"], pa.float64()) for name in LABELS]
        total = probabilities[0]
        for p in probabilities[1:]:
            total = pc.add(total, p)
        self.assertLess(pc.max(pc.abs(pc.subtract(total, 1.0))).as_py(), 1e-5)
        # A text's values do not depend on its neighbours: a piece from the middle, scored alone, gives the same.
        piece = source.slice(50000, 700)
        pq.write_table(piece, self.path("piece.parquet"))
        self.scored(self.path("piece.parquet"), output="piece-out.parquet", words=["--threads", "1"])
        alone = pq.read_table(self.path("piece-out.parquet"))
        for name in ("score", *(f"prob_{n}" for n in LABELS)):
            gap = pc.max(pc.abs(pc.subtract(alone[name], out[name].slice(50000, 700)))).as_py()
            self.assertLess(gap, 2e-6, name)

    def test_memory_does_not_grow_with_the_file(self):
        rows = [["id", "body", "filler"]] + [[str(i), f"tweet number {i} $AAPL", "f" * 300] for i in range(4000)]
        peaks = []
        for times in (1, 10):
            path = self.path(f"{times}.csv")
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(rows[0])
                for _ in range(times):
                    writer.writerows(rows[1:])
            done = finch_json("score", "--model", TINY, "--input", path, "--output", self.path("out.csv"), "--threads", "1")
            self.assertEqual(done["rows"], 4000 * times)
            peaks.append(done["peak_rss_bytes"])
        # One buffer of DuckDB's reader (32 MB) may differ between a file that fits one and a file that does not.
        self.assertLess(peaks[1] - peaks[0], 64e6)
        self.assertLess(peaks[1], 400e6)

    def test_nulls_and_empty_texts_are_skipped_and_counted(self):
        path = self.write("a.csv", 'id,body\n1,\n2,""\n3,x\n')
        done = finch_json("score", "--model", TINY, "--input", path, "--output", self.path("out.csv"))
        self.assertEqual((done["rows"], done["scored"], done["skipped"]), (3, 1, 2))
        rows = self.rows(self.path("out.csv"))
        self.assertEqual([[row[k] for k in ADDED] for row in rows[:2]], [[""] * len(ADDED)] * 2)
        self.assertNotEqual(rows[2]["label"], "")

    def test_long_texts_are_cut_and_marked(self):
        path = self.write("a.csv", "id,body\n1,short\n2," + "word " * 300 + "\n")
        self.assertEqual([r["truncated"] for r in self.scored(path)], ["false", "true"])
        self.assertEqual([r["truncated"] for r in self.scored(path, words=["--max-tokens", "2"])], ["true", "true"])

    def test_broken_rows_are_set_aside_with_their_lines(self):
        path = self.write("a.csv", RAGGED)
        rows = self.scored(path)
        self.assertEqual([(r["id"], r["body"]) for r in rows], [("1", "two\nlines"), ("3", 'say "hi"'), ("6", "last")])
        rejects = self.rows(self.path("rejects.csv"))
        self.assertEqual([(r["file"], r["line"], r["text"]) for r in rejects], [(path, "4", "2"), (path, "6", "4,a,b"), (path, "7", '5,"x"y')])
        self.assertEqual(rejects[0]["reason"], "1 fields where the first line has 2")

    def test_rejects_go_where_they_are_wanted_and_only_if_there_are_any(self):
        path = self.write("a.csv", RAGGED)
        self.scored(path, words=["--rejects", self.path("bad rows.csv")])
        self.assertEqual(len(self.rows(self.path("bad rows.csv"))), 3)
        self.scored(self.write("b.csv", "body\nx\n"))
        self.assertFalse(os.path.exists(self.path("rejects.csv")))

    def test_broken_json_lines_are_set_aside(self):
        path = self.write("a.jsonl", b'{"body":"x"}\n{"body":\n\n[1]\n{"body":"\xff"}\n{"body":"y"}\nnull\n')
        self.assertEqual([r["body"] for r in self.scored(path)], ["x", "y"])
        self.assertEqual([r["line"] for r in self.rows(self.path("rejects.csv"))], ["2", "4", "5", "7"])

    def test_a_stray_quote_deep_in_a_large_file_loses_no_other_row(self):
        lines = [f"{i},text number {i}" for i in range(200000)]
        lines[70000] = '70000,"quoted" and more'
        rows = self.scored(self.write("a.csv", "id,body\n" + "\n".join(lines) + "\n"))
        self.assertEqual([r["id"] for r in rows], [str(i) for i in range(200000) if i != 70000])
        self.assertEqual([r["line"] for r in self.rows(self.path("rejects.csv"))], ["70002"])

    def test_limit_and_prefix(self):
        path = self.write("a.csv", "label,body\nold,x\nold,y\nold,z\n")
        done = self.fails(path, code=2, says=['"label"', "--prefix"])
        rows = self.scored(path, words=["--prefix", "finch_", "--limit", "2"])
        self.assertEqual(list(rows[0]), ["label", "body", *(f"finch_{name}" for name in ADDED)])
        self.assertEqual([r["body"] for r in rows], ["x", "y"])

    def test_a_table_without_rows(self):
        self.assertEqual(self.scored(self.write("a.csv", "id,body\n")), [])


class Failures(Folder):
    def test_columns(self):
        self.fails(self.write("a.csv", "id,Text\n1,x\n"), says=["a.csv", '"body"', "id, Text", "--text-column Text"])
        self.write("b1.csv", "id,body\n1,x\n")
        self.write("b2.csv", "id,tweet\n1,x\n")
        self.fails(self.path("b*.csv"), says=["b2.csv", "--text-column tweet"])
        self.fails(self.path("b1.csv"), words=["--ticker-column", "symbol"], says=['"symbol"', "id, body"])
        pq.write_table(pa.table({"body": [1, 2]}), self.path("n.parquet"))
        self.fails(self.path("n.parquet"), says=['"body" holds BIGINT'])

    def test_a_csv_cut_inside_a_quote(self):
        self.fails(self.write("a.csv", 'id,body\n1,"x\ny"\n2,"cut in the\nmiddle'), says=["a.csv line 4", "never closed"])
        lines = "".join(f"{i},text number {i}\n" for i in range(300000))
        self.fails(self.write("b.csv", f'id,body\n{lines[:2000000]}\n-1,"open\n{lines}'), says=["never closed"])

    def test_files_that_are_missing_or_something_else(self):
        self.fails(self.path("no.csv"), code=1, says=["no such file"])
        self.fails(self.path("no*.csv"), code=1, says=["no file matches"])
        self.fails(self.folder, says=["is a folder"])
        self.fails(self.write("e.csv", ""), says=["e.csv is empty"])
        self.fails(self.write("e.jsonl", ""), says=["e.jsonl is empty"])
        self.fails(self.write("a.parquet", "id,body\n1,x\n"), says=["not a Parquet file"])
        with open(STOCKNET, "rb") as file:
            whole = file.read()
        self.fails(self.write("cut.parquet", whole[:-1000]), says=["cut.parquet was cut"])
        self.fails(self.write("lying.parquet", whole[:1000] + b"\xff" * 4 + whole[-4:]), says=["lying.parquet"])
        self.fails(self.write("p.csv", whole), says=["is a Parquet file"])
        packed = gzip.compress(b"id,body\n" + b"".join(b"%d,some text %d\n" % (i, i) for i in range(20000)))
        self.fails(self.write("cut.csv.gz", packed[:-9]), says=["cut.csv.gz was cut"])
        self.fails(self.write("half.csv.gz", packed[: len(packed) // 2]), says=["half.csv.gz was cut"])
        self.fails(self.write("flip.csv.gz", packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]), says=["flip.csv.gz", "broken"])
        self.fails(self.write("plain.csv.gz", "id,body\n"), says=["not a gzip file"])
        self.fails(self.write("gz.csv", packed), says=["is compressed"])
        duckdb.sql(f"COPY (SELECT range AS id, 'text ' || range AS body FROM range(50000)) TO '{self.path('w.csv.zst')}' (COMPRESSION zstd)")
        with open(self.path("w.csv.zst"), "rb") as file:
            packed = file.read()
        self.fails(self.write("half.csv.zst", packed[: len(packed) // 2]), says=["half.csv.zst was cut"])
        self.fails(self.write("cut.json", '[{"body":"x"},{"bo'), says=["cut.json"])

    def test_strict_stops_at_the_first_broken_row(self):
        self.fails(self.write("a.csv", RAGGED), words=["--strict"], says=["a.csv line 4", "1 fields"])
        self.fails(self.write("a.jsonl", '{"body":"x"}\n{"body"\n'), words=["--strict"], says=["a.jsonl line 2"])

    def test_a_file_of_broken_rows_only(self):
        self.fails(self.write("a.csv", "id,body\n1\n2\n"), says=["no good row", "line 2"])

    def test_wrong_usage(self):
        path = self.write("a.csv", "body\nx\n")
        self.fails(path, code=2, output="out.xlsx", says=[".parquet"])
        self.fails(path, code=2, words=["--max-tokens", "1"], says=["--max-tokens"])
        self.fails(path, "-", code=2, says=["--input -"])
        self.fails("-", code=2, output="out.parquet", says=["--input -", ".jsonl"])
        self.assertEqual(score("--input", path, "--output", "-", "--json").returncode, 2)
        self.assertEqual(score("--input", path, "--output", self.folder).returncode, 2)

    def test_an_input_is_not_written_over(self):
        """The rows set aside would be gone with it: by its name, another name, or a link."""
        inputs = self.write("in.csv", RAGGED)
        os.symlink(inputs, self.path("link.csv"))
        os.link(inputs, self.path("hard.csv"))
        for output in ("in.csv", "./in.csv", "link.csv", "hard.csv"):
            done = score("--input", inputs, "--output", os.path.join(self.folder, output))
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("written over", done.stderr)
            done = finch("data", "convert", inputs, "--output", os.path.join(self.folder, output))
            self.assertEqual(done.returncode, 2, done.stderr)
            with open(inputs) as left:
                self.assertEqual(RAGGED, left.read())
        self.assertEqual({"in.csv", "link.csv", "hard.csv"}, set(os.listdir(self.folder)))

    def test_outputs_that_can_not_be_written(self):
        path = self.write("a.csv", "body\nx\n")
        done = score("--input", path, "--output", self.path("no/such/out.csv"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("can not be written", done.stderr)

    def test_no_permission(self):
        who = unprivileged()
        if who is None:
            self.skipTest("the program lies where only root may run it")
        path = self.write("a.csv", "body\nx\n")
        os.chmod(self.folder, 0o777)
        os.chmod(path, 0)
        self.fails(path, code=1, says=["a.csv", "ermission"], **who)
        os.chmod(path, 0o644)
        os.chmod(self.folder, 0o555)
        self.fails(path, code=1, says=["out.csv", "ermission"], **who)
        os.chmod(self.folder, 0o755)

    def test_a_full_disk_leaves_the_old_output_alone(self):
        """The limit on a file's size stands in for a disk that fills up while the output is written."""
        big = self.write("a.csv", "id,body\n" + "".join(f"{i},some text number {i} {'x' * 200}\n" for i in range(4000)))
        for name in ("out.csv", "out.jsonl", "out.parquet", "out.csv.gz"):
            with self.subTest(name):
                old = self.write(name, "old")
                limit = 4096
                before = set(os.listdir(self.folder))
                done = score("--input", big, "--output", old, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(name, done.stderr)
                with open(old, encoding="utf-8") as file:
                    self.assertEqual(file.read(), "old")
                self.assertEqual(set(os.listdir(self.folder)), before)

    def test_ctrl_c_leaves_nothing(self):
        out = self.path("out.csv")
        running = subprocess.Popen([PROGRAM, "score", "--model", TINY, "--input", STOCKNET, "--output", out, "--threads", "1"], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not os.path.exists(f"{out}.part-{running.pid}") and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 130, said)
        self.assertEqual(os.listdir(self.folder), [])


class Pipes(Folder):
    def test_each_line_is_answered_at_once(self):
        running = subprocess.Popen([PROGRAM, "score", "--model", TINY, "--input", "-", "--output", "-"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for i in range(5):
            running.stdin.write(b'{"n":%d,  "body":"line %d", "x":1.10}\n' % (i, i))
            running.stdin.flush()
            answer = running.stdout.readline()
            self.assertTrue(answer.startswith(b'{"n":%d,  "body":"line %d", "x":1.10,"label":' % (i, i)), answer)
            self.assertEqual(list(json.loads(answer))[3:], ADDED)
        running.stdin.close()
        self.assertEqual(running.wait(30), 0)
        running.stdout.close()

    def test_broken_lines_are_answered_in_their_place(self):
        lines = [b'{"body":"x"}', b"{broken", b"", b'{"texts":"no body"}', b'{"body":7}', b'{"body":null}', b'{"body":"\xff"}',
                 b'{"body":"\\\xc3\x87"}', b'{"body":"y","label":"z"}', b'{"body":"' + b"l" * 2100000 + b'"}', b'{"body":"last, without a newline"}']
        done = score("--input", "-", "--output", "-", stdin=b"\n".join(lines))
        self.assertEqual(done.returncode, 3, done.stderr[-500:])
        answers = done.stdout.split("\n")
        self.assertEqual(answers.pop(), "")
        self.assertEqual(len(answers), len(lines))
        self.assertEqual(answers[2], "")
        read = [json.loads(answer) if answer else None for answer in answers]
        self.assertEqual([a and a.get("line") for a in read], [None, 2, None, 4, 5, None, 7, 8, 9, 10, None])
        self.assertIn("--text-column", read[3]["error"])
        self.assertIn("--prefix", read[8]["error"])
        self.assertIn("invalid escape", read[7]["error"])
        self.assertIsNone(read[5]["label"])
        self.assertIn("7 lines were broken", done.stderr)
        done = score("--input", "-", "--output", "-", "--strict", stdin=b"\n".join(lines))
        self.assertEqual(done.returncode, 3)
        self.assertIn("line 2", done.stderr)

    def test_a_pipe_and_a_file_give_the_same_values(self):
        rows = pq.read_table(STOCKNET).slice(0, 5000).to_pylist()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        self.scored(self.write("a.jsonl", text), output="out.jsonl")
        done = score("--input", "-", "--output", "-", stdin=text.encode())
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("out.jsonl"), encoding="utf-8") as file:
            for line, answer in zip(file, done.stdout.splitlines(), strict=True):
                a, b = json.loads(line), json.loads(answer)
                self.assertEqual([a[k] for k in ("tweet_id", "label")], [b[k] for k in ("tweet_id", "label")])
                self.assertAlmostEqual(a["score"], b["score"], places=5)

    def test_a_pipe_to_a_file_and_a_file_to_a_pipe(self):
        done = score("--input", "-", "--output", self.path("out.jsonl"), stdin=b'{"body":"x"}\n')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.listdir(self.folder), ["out.jsonl"])
        done = score("--input", self.write("a.csv", "id,body\n1,x\n2,y\n"), "--output", "-")
        self.assertEqual([json.loads(line)["id"] for line in done.stdout.splitlines()], [1, 2])

    def test_a_reader_that_goes_away(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([PROGRAM, "score", "--model", TINY, "--input", "-", "--output", "-"], input=b'{"body":"x"}\n' * 10, stdout=writer,
                              stderr=subprocess.PIPE, timeout=60)
        os.close(writer)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"went away", done.stderr)


class Words(Folder):
    def test_json_and_quiet(self):
        path = self.write("a.csv", RAGGED)
        done = score("--input", path, "--output", self.path("out.csv"), "--json", "--quiet")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        self.assertLessEqual({"rows", "scored", "skipped", "rejected", "seconds", "texts_per_second", "tokens_per_second", "peak_rss_bytes",
                              "model", "output"}, set(report))
        self.assertEqual((report["rows"], report["rejected"], report["output"]), (3, 3, self.path("out.csv")))
        self.assertGreater(report["tokens_per_second"], report["texts_per_second"])

    def test_the_summary_says_what_the_table_says(self):
        rows = [{"body": f"unlike tweet {i} about $AAPL", "ticker_symbol": "AAPL|GOOG" if i % 2 else "GOOG", "post_date": 1388531408 + i * 86400} for i in range(40)]
        rows.append({"body": "\033[31mescape\033[0m \u202e $X", "ticker_symbol": "X", "post_date": 1388531408})
        path = self.write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        done = self.scored(path, output="out.jsonl", env={"TERM": "xterm"})
        said = done.stderr
        with open(self.path("out.jsonl"), encoding="utf-8") as file:
            out = [json.loads(line) for line in file]
        self.assertIn("41 tweets scored", said)
        self.assertIn("from 2013-12-31 to 2014-02-08", said)
        for name in LABELS:
            n = sum(row["label"].lower() == name for row in out)
            line = next(line for line in said.splitlines() if line.strip().startswith(name.upper() + " "))
            self.assertEqual((int(line.split()[-1]), f"{100 * n / 41:.1f}"), (n, line.split()[-3]))
        google = [row["score"] for row in out if "GOOG" in row["ticker_symbol"]]
        line = next(line for line in said.splitlines() if "$GOOG" in line and "40" in line.split())
        self.assertEqual(line.split()[1:3], ["40", f"{sum(google) / 40:+.2f}"])
        self.assertNotIn("$X ", "".join(line for line in said.splitlines() if "to" in line and "[" in line))
        self.assertNotIn("\033", said)
        self.assertNotIn("\u202e", said)

    def test_without_a_ticker_column_cashtags_are_found(self):
        path = self.write("a.csv", "body\n" + "".join(f"number {i}: $tsla at $100 and $BRK.B a$b\n" for i in range(12)))
        said = self.scored(path, output="out.parquet").stderr
        tickers = [line.split()[0] for line in said.splitlines() if " to " in line and line.strip().startswith("$")]
        self.assertEqual(sorted(tickers), ["$BRK.B", "$TSLA"])

    def on_terminal(self, path, **env):
        """What a terminal is sent while path is scored."""
        ours, theirs = os.openpty()
        done = subprocess.Popen([PROGRAM, "score", "--model", TINY, "--input", path, "--output", self.path("out.parquet")], stderr=theirs,
                                env={**os.environ, "TERM": "xterm", **env})
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux: the last writer is gone
                break
            if not piece:
                break
            said += piece
        os.close(ours)
        self.assertEqual(done.wait(60), 0, said)
        return said.decode()

    def test_colour_on_a_terminal_unless_refused(self):
        path = self.write("a.csv", "body\n" + "".join(f"number {i} of $TSLA\n" for i in range(12)))
        self.assertIn("\033[1m12 tweets scored\033[0m", self.on_terminal(path, NO_COLOR=""))
        said = self.on_terminal(path, NO_COLOR="1")
        self.assertIn("12 tweets scored", said)
        self.assertNotRegex(said, "\033\\[[0-9;]*m")

    def test_no_colour_off_a_terminal_and_plain_letters_where_asked(self):
        path = self.write("a.csv", "body\n" + "".join(f"number {i} of $TSLA \u20ac\n" for i in range(12)))
        said = self.scored(path, output="out.parquet", env={"LC_ALL": "C"}).stderr
        self.assertTrue(said.isascii(), said)


if __name__ == "__main__":
    unittest.main()
