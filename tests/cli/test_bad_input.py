"""Tables that are broken, in every command that reads one: each is told with its file and row, broken rows are set aside in
rejects.csv and counted, and --strict stops at the first."""
import csv
import gzip
import json
import os
import random
import struct
import subprocess
import unittest
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

from finch_cli import PROGRAM, SOURCE, FolderTest, finch, read_csv

TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
FULL = os.environ.get("FINCH_PROOF") == "full"
LABELS = ["NEGATIVE", "NEUTRAL", "POSITIVE"]
ROWS = [{"id": i, "text": f"tweet {i} of ${'ABC'[i % 3]}{i * 7919} says caf\u00e9", "label": LABELS[i % 3]} for i in range(300)]


def csv_line(row):
    return f"{row['id']},{row['text']},{row['label']}\n"


class BadInput(FolderTest):
    def words(self, command, *inputs):
        """A command line that reads the inputs, texts in "text" and labels in "label"; label in a store of its own, since a job
        reads its table once."""
        valid = self.path("valid.csv")
        if not os.path.exists(valid):
            self.write("valid.csv", "text,label\n" + "".join(f"another tweet {i * 104729},{LABELS[i % 3]}\n" for i in range(30)))
        return {
            "score": ["score", "--model", TINY, "--prefix", "f_", "--text-column", "text", "--output", self.path("scored.parquet"), "--input", *inputs],
            "eval": ["eval", "--model", TINY, "--collapse", "3", "--bootstrap", "0", "--output", self.path("report.html"), "--data", *inputs],
            "split": ["split", "--train", self.path("train.csv"), "--test", self.path("test.csv"), "--input", *inputs],
            "train": ["train", "--model", TINY, "--valid", valid, "--max-steps", "1", "--restart", "--output", self.path("model"), "--train", *inputs],
            "pretrain": ["pretrain", "--model", TINY, "--max-steps", "1", "--restart", "--output", self.path("domain"), "--input", *inputs],
            "label": ["label", "--dry-run", "--prefix", "f_", "--state", self.path(f"{len(os.listdir(self.folder))}.sqlite"), "--text-column", "text", "--provider-url", "http://127.0.0.1:9/v1", "--price-in", "1",
                      "--price-out", "1", "--output", self.path("labels.csv"), "--input", *inputs],
            "convert": ["data", "convert", *inputs, "--output", self.path("converted.parquet")],
            "prepare": ["prepare", "--text-column", "text", "--no-language", "--no-report", "--output", self.path("prepared.parquet"), "--input", *inputs],
            "tokenize": ["tokenize", "--model", TINY, "--text-column", "text", "--output", self.path("ids.jsonl"), "--input", *inputs],
        }[command]

    every = ("score", "eval", "split", "train", "pretrain", "label", "prepare", "convert", "tokenize")
    setting_aside = every[:-1]  # tokenize: every row gives a line, so a broken one is an error
    texts = tuple(name for name in every if name != "convert")

    def run_finch(self, *words):
        env = {"OMP_WAIT_POLICY": "passive", "OPENAI_API_KEY": "sk-nobody-asks-this-key-0000"}
        for name in ("model", "domain"):
            if os.path.isdir(self.path(name)):
                os.rename(self.path(name), self.path(f"{name}-{len(os.listdir(self.folder))}"))
        return finch(*words, env=env)

    def refused(self, command, inputs, *said, more=()):
        done = self.run_finch(*self.words(command, *inputs), *more)
        self.assertEqual(done.returncode, 3, f"{command} of {inputs}: {done.stderr}")
        for word in said:
            self.assertIn(word, done.stderr, command)

    def rejects(self):
        path = self.path("rejects.csv")
        rows = read_csv(path) if os.path.exists(path) else []
        if rows:
            os.remove(path)
        return [(os.path.basename(row["file"]), int(row["line"])) for row in rows]

    def aside(self, path, lines, reason):
        """Every command sets these lines of the file aside, and --strict stops at the first."""
        for command in self.setting_aside:
            done = self.run_finch(*self.words(command, path))
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
            self.assertIn(f"{len(lines)} broken rows", done.stderr, command)
            self.assertIn("rejects.csv", done.stderr, command)
            self.assertEqual(self.rejects(), [(os.path.basename(path), line) for line in lines], command)
            self.refused(command, [path], f"{path} line {lines[0]}", reason, more=["--strict"])
        self.refused("tokenize", [path], path, str(lines[0]))

    def test_one_row_in_a_hundred_is_broken(self):
        broken = {50: '50,"said"so,NEUTRAL\n', 150: "150,a field is missing\n", 250: "250,one,too,many\n"}
        path = self.write("broken.csv", "id,text,label\n" + "".join(broken.get(row["id"], csv_line(row)) for row in ROWS))
        self.aside(path, [52, 152, 252], "text follows a closing quote")
        self.assertEqual(pq.read_table(self.path("converted.parquet"))["id"].to_pylist(), [row["id"] for row in ROWS if row["id"] not in broken])
        self.assertEqual(finch("data", "stats", path, "--rejects", self.path("listed.csv")).returncode, 0)
        self.assertEqual([row["reason"] for row in read_csv(self.path("listed.csv"))],
                         ["text follows a closing quote", "2 fields where the first line has 3", "4 fields where the first line has 3"])

    def test_lines_of_json_that_are_none(self):
        broken = {50: '{"id": ', 150: "[1, 2]", 250: json.dumps({"id": 250, "text": 5, "label": "NEUTRAL"})}
        path = self.write("broken.jsonl", "".join(broken.get(row["id"], json.dumps(row)) + "\n" for row in ROWS))
        lines = [51, 151, 251]
        for command in self.setting_aside:
            if command == "convert":  # there no column is that of the texts
                continue
            done = self.run_finch(*self.words(command, path))
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
            self.assertEqual(self.rejects(), [("broken.jsonl", line) for line in lines], command)
            self.refused(command, [path], f"{path} line 51", "no valid JSON", more=["--strict"])
        self.refused("tokenize", [path], f"{path}:51")

    def test_encodings_mixed_in_one_file_and_over_several(self):
        mixed = b"id,text,label\n" + b"".join(csv_line(row).encode("latin-1" if row["id"] in (7, 107) else "utf-8") for row in ROWS)
        self.aside(self.write("mixed.csv", mixed), [9, 109], "not UTF-8")
        third = len(ROWS) // 3
        files = [self.write(f"{encoding}.csv", ("id,text,label\n" + "".join(map(csv_line, ROWS[i * third:(i + 1) * third]))).encode(encoding))
                 for i, encoding in enumerate(("utf-8", "latin-1", "utf-16"))]
        self.assertEqual(self.run_finch(*self.words("convert", *files)).returncode, 0)
        self.assertEqual(pq.read_table(self.path("converted.parquet")).to_pylist(), ROWS)

    def test_parquet_cut_short_or_spoilt(self):
        whole = self.path("whole.parquet")
        pq.write_table(pa.Table.from_pylist(ROWS), whole)
        with open(whole, "rb") as file:
            content = file.read()
        cut = self.write("cut.parquet", content[:len(content) // 2])
        spoilt = self.write("spoilt.parquet", content[:len(content) // 4] + bytes(len(content) // 4) + content[len(content) // 2:])
        for command in self.every:
            self.refused(command, [cut], cut, "was cut", "download it again")
            self.refused(command, [whole, spoilt], "spoilt.parquet")

    def test_files_with_nothing_in_them(self):
        for ending in ("csv", "jsonl", "json", "parquet", "csv.gz"):
            path = self.write("empty." + ending, b"")
            for command in self.every:
                self.refused(command, [path], path, "is empty" if ending != "csv.gz" else "")

    def test_what_is_no_table_says_what_to_do(self):
        pipe = self.path("pipe.csv")
        os.mkfifo(pipe)
        keyless = [self.write("one.json", "{}"), self.write("many.jsonl", "{}\n{}\n"), self.write("array.json", "[{}, {}]")]
        for command in self.every:
            self.refused(command, [pipe], pipe, "a pipe or a device", "save it to a file")
            for path in keyless if command != "tokenize" else ():
                self.refused(command, [path], path, "objects without keys")

    def test_a_column_of_the_wrong_type(self):
        for name, values in (("number", [1.5, 2.5]), ("list", [["a"], ["b"]]), ("bytes", [b"\xff\xfe", b"b"])):
            path = self.path(name + ".parquet")
            pq.write_table(pa.table({"id": [1, 2], "text": values, "label": ["NEUTRAL", "POSITIVE"]}), path)
            for command in self.texts:
                self.refused(command, [path], path, '"text"', "not texts", "--text-column")
        whole = self.path("whole.parquet")
        pq.write_table(pa.Table.from_pylist(ROWS), whole)
        for command in self.every:
            self.refused(command, [whole, self.path("list.parquet")], self.path("list.parquet"), '"text"')
        items = self.write("items.json", json.dumps([{"text": row["text"], "label": row["label"]} for row in ROWS[:100]] + [{"text": 5, "label": "NEUTRAL"}], indent=0))
        for command in set(self.texts) - {"tokenize"}:
            done = self.run_finch(*self.words(command, items))
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
            self.assertEqual(self.rejects(), [("items.json", 402)], command)
            self.refused(command, [items], f"{items} line 402", '"text"', more=["--strict"])
        self.refused("tokenize", [items], items, "402", '"text"')
        label = self.write("label.csv", "text,label\na,NEUTRAL\nb,maybe\n")
        for command in ("eval", "train"):
            self.refused(command, [label], label, "maybe", "2")
        times = self.write("times.csv", "text,post_date\na,2020-01-01\nb,yesterday\n")
        self.refused("split", [times, times], f"{times} row 2", '"post_date"', more=["--by", "time"])

    def test_a_column_that_is_not_there_is_told_with_what_to_write(self):
        for columns, said in (("id,full text,label", '--text-column "full text"'), ("id,tweet,label", "--text-column tweet"), ("id,words,label", "Name it with --text-column")):
            path = self.write("named.csv", columns + "\n1,a,NEUTRAL\n")
            for command in ("score", "split", "label", "prepare"):
                self.refused(command, [path], path, 'no column "text"', columns.replace(",", ", "), said, more=["--clusters", "texts"] if command == "split" else ())

    def test_files_with_different_columns(self):
        first, second = self.write("first.csv", "id,text,label\n1,a,NEUTRAL\n"), self.write("second.csv", "id,body,label\n2,b,POSITIVE\n")
        for command in self.texts:
            self.refused(command, [first, second], second, 'no column "text"', "body")
        done = finch("data", "convert", first, second, "--output", self.path("both.csv"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f'{second} has no column "text"', done.stderr)
        self.assertEqual(read_csv(self.path("both.csv"))[1], {"id": "2", "text": "", "label": "POSITIVE", "body": "b"})

    # ---- lines past the limit ----

    def peak_kib(self, *words):
        """Peak memory of a run, which must end well."""
        running = subprocess.Popen([PROGRAM, *map(str, words), "--quiet"], stderr=subprocess.PIPE)
        said = running.stderr.read().decode()
        running.stderr.close()
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(running.returncode, 0, said)
        return usage.ru_maxrss

    def test_a_line_as_long_as_a_disk(self):
        """96 MB of one line, 3 GB with FINCH_PROOF=full: a file with a hole takes no disk, and no memory grows with it."""
        size = 3 << 30 if FULL else 96 << 20
        small = self.peak_kib("data", "convert", self.write("small.csv", "id,text\n1,a\n"), "--output", self.path("out.csv"))
        for name, before, after, line in (("long.csv", b"id,text\n1,a\n2,", b"\n3,c\n", 3), ("quoted.csv", b'id,text\n1,a\n2,"', b'"\n3,c\n', 3),
                                          ("long.jsonl", b'{"id":1,"text":"a"}\n{"id":2,"text":"', b'"}\n{"id":3,"text":"c"}\n', 2)):
            path = self.path(name)
            with open(path, "wb") as file:
                file.write(before)
                file.seek(size, os.SEEK_CUR)
                file.write(after)
            peak = self.peak_kib("data", "convert", path, "--output", self.path("out.csv"))
            self.assertEqual([row["id"] for row in read_csv(self.path("out.csv"))], ["1", "3"], name)
            with open(self.path("rejects.csv"), newline="", encoding="utf-8") as file:
                row = next(csv.DictReader(file))
            self.assertEqual(row["line"], str(line))
            for said in ("more than 2000000", "--max-line-bytes"):
                self.assertIn(said, row["reason"])
            self.assertGreater(int(row["reason"].split(" bytes")[0].split()[-1]), size)
            if "FINCH_SANITIZED" not in os.environ:
                self.assertLess(peak - small, 24 << 10, name)

    def test_every_broken_row_is_kept_however_many(self):
        """More than fit the memory that is kept for them: each is in rejects.csv, in order, and memory does not grow with them."""
        broken = range(0, 240_000, 2)
        for name, line, bad in (("many.csv", "{0},a\n", "{0},a,too much\n"), ("many.jsonl", '{{"id":{0}}}\n', '{{"id":{0}\n')):
            few = self.write("few-" + name, ("id,text\n" if "csv" in name else "") + line.format(1) + bad.format(2))
            small = self.peak_kib("data", "convert", few, "--output", self.path("out.parquet"))
            path = self.write(name, ("id,text\n" if "csv" in name else "") + "".join((bad if i % 2 == 0 else line).format(i) for i in range(240_000)))
            peak = self.peak_kib("data", "convert", path, "--output", self.path("out.parquet"))
            with open(self.path("rejects.csv"), newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            first = 2 if "csv" in name else 1
            self.assertEqual([int(row["line"]) for row in rows], [i + first for i in broken], name)
            self.assertEqual(rows[-1]["text"], bad.format(239_998).strip())
            self.assertEqual(pq.read_table(self.path("out.parquet"))["id"].to_pylist(), list(range(1, 240_000, 2)))
            if "FINCH_SANITIZED" not in os.environ:
                self.assertLess(peak - small, 40 << 10, name)

    def test_items_of_an_array_are_broken_as_lines_are(self):
        """The same rows as JSONL and as one array, also with an item over several lines and as .gz: the same good ones, the same broken ones."""
        good = [json.dumps({"text": f"tweet {i} \\ \"]\" of ${i}", "l": [i, {"a": "]}"}]}) for i in range(30)]
        bad = ["5", '{"text": 7}', '{"text": "x"', "null", "[1, 2]", '{"text": "\x80"}', '{"text": "' + "y" * 300 + '"}']
        bad[2] = '{"text" "x"}'  # in an array a bracket too few has no end
        items = [good[i // 2] if i % 2 or i // 2 >= len(bad) else bad[i // 2] for i in range(60)]
        lines = [i + 1 for i, item in enumerate(items) if item in bad]
        as_bytes = lambda text: text.encode("utf-8").replace(b"\xc2\x80", b"\x80")
        files = [self.write("a.jsonl", as_bytes("\n".join(items) + "\n")), self.write("b.json", as_bytes("[" + ",\n".join(items) + "]")),
                 self.write("c.json", as_bytes(" [\t" + "\r\n , ".join(item.replace(', "l"', ',\n  "l"') for item in items) + "\n]\n"))]
        with open(files[1], "rb") as file:
            files.append(self.write("d.json.gz", gzip.compress(file.read())))
        kept = None
        for path in files:
            done = self.run_finch(*self.words("prepare", path), "--max-line-bytes", 200, "--no-near-duplicates", "--no-floods", "--no-duplicates", "--no-short")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"{len(bad)} broken rows", done.stderr)
            rows = pq.read_table(self.path("prepared.parquet"))["body"].to_pylist()
            kept = kept or rows
            self.assertEqual(rows, kept, path)
            found = self.rejects()
            self.assertEqual(len(found), len(bad))
            if "c.json" not in path:
                self.assertEqual([line for _, line in found], lines, path)
        self.assertEqual(len(kept), len([item for item in items if item in good]))
        self.refused("convert", [files[1]], f"{files[1]} line {lines[0]}", "--strict", more=["--strict"])
        for name, content, said in (("cut.json", '[{"a":1},\n{"a":2}', "line 2: the array does not end"), ("behind.json", '[{"a":1}]\n[{"a":1}]', "line 2: text follows"),
                                    ("open.json", '[{"a":1},\n{"a":"x}\n]', "line 2: the array does not end")):
            self.refused("convert", [self.write(name, content)], name, said)
        path = self.write("comma.json", '[{"a":1},\n]')
        self.assertEqual(self.run_finch(*self.words("convert", path)).returncode, 0)
        self.assertEqual(self.rejects(), [("comma.json", 2)])

    def test_a_table_in_an_archive(self):
        """.zip as zipfile writes it, packed and stored, with what macOS adds; what can not be read says why."""
        plain = "id,text,label\n" + "".join(csv_line(row) for row in ROWS)
        lines = "".join(json.dumps(row) + "\n" for row in ROWS)
        pq.write_table(pa.Table.from_pylist(ROWS), self.path("rows.parquet"))
        with open(self.path("rows.parquet"), "rb") as file:
            packed_table = file.read()

        def archive(name, *members, method=zipfile.ZIP_DEFLATED, wide=False):
            with zipfile.ZipFile(self.path(name), "w", method) as out:
                for member, content in members:
                    with out.open(member, "w", force_zip64=wide) as into:
                        into.write(content.encode() if isinstance(content, str) else content)
            return self.path(name)

        beside = [("folder/", ""), ("__MACOSX/folder/._rows.csv", b"\0"), ("folder/.hidden.csv", "x"), ("read.me", "text")]
        whole = archive("rows.csv.zip", *beside, ("folder/rows.csv", plain))
        for path in (whole, archive("stored.zip", ("rows.csv", plain), method=zipfile.ZIP_STORED), archive("wide.zip", ("rows.csv", plain), wide=True),
                     archive("lines.zip", ("rows.jsonl", lines)), archive("table.zip", ("rows.parquet", packed_table)), archive("twice.zip", ("rows.csv.gz", gzip.compress(plain.encode())))):
            done = self.run_finch(*self.words("convert", path))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(pq.read_table(self.path("converted.parquet"))["text"].to_pylist(), [row["text"] for row in ROWS], path)
        for command in ("prepare", "score"):  # the texts' column is found in an archive as elsewhere
            words = [word for word in self.words(command, whole) if word not in ("--text-column", "text")]
            self.assertEqual(self.run_finch(*words).returncode, 0, command)
        broken = archive("broken.zip", ("rows.csv", plain.replace(csv_line(ROWS[7]), "7,one,too,many\n")))
        self.assertEqual(self.run_finch(*self.words("score", broken)).returncode, 0)
        self.assertEqual(self.rejects(), [("broken.zip", 9)])
        with open(whole, "rb") as file:
            content = file.read()
        spoilt = bytearray(content)
        at = content.index(b"folder/rows.csv") + 200
        spoilt[at:at + 4] = bytes(255 - byte for byte in spoilt[at:at + 4])
        for name, changed in (("cut.zip", content[:len(content) // 2]), ("spoilt.zip", bytes(spoilt)), ("head.zip", content[:40])):
            self.refused("convert", [self.write(name, changed)], name, "ZIP archive")
        for name, size in (("less.zip", len(plain) - 1), ("more.zip", len(plain) + 1), ("impossible.zip", 0x7FFFFFFF)):
            lying = bytearray(content)
            struct.pack_into("<I", lying, content.rindex(b"PK\x01\x02") + 24, size)
            self.refused("convert", [self.write(name, bytes(lying))], name, "ZIP archive")
        self.refused("convert", [archive("several.zip", ("a.csv", plain), ("b.csv", plain))], "a.csv and b.csv", "unpack it")
        self.refused("convert", [archive("none.zip", ("a.xls", plain))], "holds no table")
        encrypted = bytearray(content)
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = -1
            while (at := encrypted.find(mark, at + 1)) >= 0:
                encrypted[at + offset] |= 1
        done = self.run_finch(*self.words("convert", self.write("secret.zip", bytes(encrypted))))
        self.assertIn("encrypted", done.stderr)
        self.assertEqual(done.returncode, 3)

    def test_line_ends_in_texts_wherever_duckdb_begins(self):
        """Buffers of twice the longest line: DuckDB in parallel would begin in the middle of texts, and guess wrong there."""
        draw, words = random.Random(7), ["up", "$AAPL", "a, b", 'say "x"', "line\nbreak", "1,2,3\n4,5,6", '"', "\n7,one,8\n"]
        rows = [[str(i), " ".join(draw.choice(words) for _ in range(draw.randint(1, 9))), str(draw.randint(0, 9))] for i in range(5000)]
        with open(self.path("lines.csv"), "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["id", "text", "n"], *rows])
        for most in (1000, 3000, 10000, 30000):
            for command in (("data", "convert", self.path("lines.csv")), ("prepare", "--input", self.path("lines.csv"), "--text-column", "text", "--no-report", *(f"--no-{stage}" for stage in
                            ("short", "language", "duplicates", "near-duplicates", "floods", "repair", "entities", "urls", "users")))):
                done = finch(*command, "--output", self.path("lines.parquet"), "--max-line-bytes", most)
                self.assertEqual(done.returncode, 0, done.stderr)
                found = pq.read_table(self.path("lines.parquet"))
                self.assertEqual(found["id"].to_pylist(), [int(row[0]) for row in rows])
                self.assertEqual(found["text" if command[0] == "data" else "body"].to_pylist(), [row[1] for row in rows])

    def test_files_that_differ_are_told_before_the_work(self):
        one = self.write("one.csv", "text,label,likes\nup we go,POSITIVE,1\n")
        two = self.write("two.csv", "text,label\ndown it goes,NEGATIVE\n")
        for command in ("score", "label", "prepare", "convert"):
            done = self.run_finch(*self.words(command, one, two))
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
            self.assertEqual(done.stderr.count(f'warning: {two} has no column "likes": null for its rows'), 1, command)
            self.assertNotIn("warning", self.run_finch(*self.words(command, one, one)).stderr)
        self.refused("score", [one, self.write("none.csv", "body\nno text here\n")], 'none.csv has no column "text"; it has: body')
        names = ",".join(f"c{i}" for i in range(50))
        wide = self.write("wide.csv", f"text,{names}\nup we go{',1' * 50}\n")
        self.assertIn("and 30 differences more", self.run_finch(*self.words("score", wide, self.write("thin.csv", "text\nup\n"))).stderr)

    def test_the_limit_can_be_moved(self):
        long = "x" * 3_000_000
        for name, content in (("long.csv", f"id,text\n1,{long}\n2,b\n"), ("quotes.csv", f'id,text\n1,"{long}""""{long}"\n2,b\n'), ("long.jsonl", f'{{"id":1,"text":"{long}"}}\n{{"id":2,"text":"b"}}\n')):
            path, out = self.write(name, content), self.path("out.parquet")
            self.assertEqual(finch("data", "convert", path, "--output", out).returncode, 0)
            self.assertEqual(pq.read_table(out)["id"].to_pylist(), [2], name)
            self.assertEqual(self.rejects(), [(name, 2 if "csv" in name else 1)])
            self.assertEqual(finch("data", "convert", path, "--output", out, "--max-line-bytes", 20_000_000).returncode, 0)
            self.assertEqual(pq.read_table(out)["id"].to_pylist(), [1, 2], name)
            self.assertEqual(self.rejects(), [])
        path = self.write("short.csv", "id,text\n1,this row is longer than that\n2,b\n")
        done = finch("data", "head", path, "--json", "--max-line-bytes", 16)
        self.assertEqual(json.loads(done.stdout), [{"id": 2, "text": "b"}])
        done = finch("tokenize", "--model", TINY, "--input", self.path("long.jsonl"), "--text-column", "text", "--output", self.path("ids.jsonl"))
        self.assertEqual(done.returncode, 3)
        for said in (":1:", "2000000", "--max-line-bytes"):
            self.assertIn(said, done.stderr)
        array = self.write("array.json", json.dumps([{"text": "x" * (36 << 20)}]))
        done = finch("data", "head", array)
        self.assertEqual(done.returncode, 3)
        self.assertIn("--max-line-bytes", done.stderr)
        self.assertEqual(finch("data", "schema", array, "--max-line-bytes", 40 << 20).returncode, 0)
        names = self.write("names.csv", "n" * 3_000_000 + "\n1\n")
        done = finch("data", "head", names)
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"{names} line 1", done.stderr)

    def test_a_long_line_on_a_pipe_is_answered_once(self):
        lines = b'{"text":"a"}\n{"text":"' + b"x" * (5 << 20) + b'"}\n{"text":"c"}\n'
        done = finch("score", "--model", TINY, "--text-column", "text", "--input", "-", "--output", "-", stdin=lines)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([sorted(answer)[0] for answer in answers], ["label", "error", "label"])
        self.assertIn("--max-line-bytes", answers[1]["error"])


if __name__ == "__main__":
    unittest.main()
