"""Tables that are broken, in every command that reads one: each is told with its file and row, broken rows are set aside in
rejects.csv and counted, and --strict stops at the first."""
import csv
import json
import os
import subprocess
import unittest

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
        items = self.write("items.json", json.dumps([{"text": "a", "label": "NEUTRAL"}, {"text": 5, "label": "NEUTRAL"}]))
        for command in self.texts:
            self.refused(command, [items], f"{items} item 2", '"text"')
        label = self.write("label.csv", "text,label\na,NEUTRAL\nb,maybe\n")
        for command in ("eval", "train"):
            self.refused(command, [label], label, "maybe", "2")
        times = self.write("times.csv", "text,post_date\na,2020-01-01\nb,yesterday\n")
        self.refused("split", [times, times], f"{times} row 2", '"post_date"', more=["--by", "time"])

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
