"""Every command that reads a table reads each format alike, and each that writes one writes each alike: the same rows in CSV,
TSV, JSONL, JSON, Parquet, compressed text, several files, mixed ones and globs give the same scores, figures, weights, labels
and token ids."""
import csv
import gzip
import hashlib
import json
import os
import shutil
import sys
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

from finch_cli import SOURCE, FolderTest, finch, finch_json, read_csv

sys.path.insert(0, os.path.join(SOURCE, "tests", "provider"))
from provider import Provider  # noqa: E402

TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
KEY = "sk-standin-formats-Zk3v9Qw7Lr2"
N_ROWS = 48
WRITTEN = ("csv", "tsv", "jsonl", "json", "parquet", "csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst")


def texts():
    """Rows of a real table with what formats stumble over."""
    rows = read_csv(os.path.join(SOURCE, "data", "fintweets5", "train.csv"))[:N_ROWS]
    spice = ["", ' "quoted", and a comma', "\nnext line", " \u20ac \U0001f680", " back\\slash", " \t tab", " 'single'", " \u6f22\u5b57"]
    return [{"id": f"{7 + i:03d}", "text": f"{row['text']}{spice[i % len(spice)]}", "label": row["label"]} for i, row in enumerate(rows)]


def ending_of(path):
    return os.path.basename(path).split(".", 1)[1]


def write_csv(path, rows, separator=","):
    with (gzip.open if path.endswith(".gz") else open)(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def write_zst(path, plain):
    with open(plain, "rb") as file, pa.output_stream(path, compression="zstd") as out:
        out.write(file.read())


def write_table(path, rows):
    """By Python's own writers, so that what finch reads is not what finch wrote."""
    ending = ending_of(path)
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending in ("csv", "csv.gz"):
        write_csv(path, rows)
    elif ending == "tsv":
        write_csv(path, rows, "\t")
    elif ending.endswith(".zst"):
        write_table(path[:-4], rows)
        write_zst(path, path[:-4])
        os.remove(path[:-4])
    else:
        lines = [json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)]
        text = "[" + ",\n".join(lines) + "]" if ending == "json" else "\n".join(lines) + "\n"
        with (gzip.open if ending.endswith(".gz") else open)(path, "wt", encoding="utf-8") as file:
            file.write(text)


def read_table(path):
    """By Python's own readers: rows of texts, None for null."""
    if path.endswith(".parquet"):
        rows = pq.read_table(path).to_pylist()
    else:
        with pa.input_stream(path, compression="detect") as file:
            text = file.read().decode()
        if ".json" in path:
            rows = json.loads(text) if ending_of(path) == "json" else [json.loads(line) for line in text.splitlines()]
        else:
            rows = list(csv.DictReader(text.splitlines(keepends=True), delimiter="\t" if ".tsv" in path else ","))
    return rows


class Formats(FolderTest):
    @classmethod
    def setUpClass(cls):
        cls.rows = texts()

    def inputs(self):
        """name -> words for --input: each format, then halves of different formats, then a glob."""
        for ending in WRITTEN:
            folder = self.path(ending)
            os.makedirs(folder, exist_ok=True)
            write_table(os.path.join(folder, "in." + ending), self.rows)
            yield ending, [os.path.join(folder, "in." + ending)]
        half = N_ROWS // 2
        os.makedirs(self.path("halves"), exist_ok=True)
        for name, first, second in (("mixed", "a.parquet", "b.csv.gz"), ("two CSV", "c.csv", "d.csv"), ("two JSONL", "e.jsonl", "f.jsonl.zst")):
            pair = [os.path.join(self.path("halves"), part) for part in (first, second)]
            write_table(pair[0], self.rows[:half])
            write_table(pair[1], [dict(reversed(row.items())) for row in self.rows[half:]])
            yield name, pair
        third = N_ROWS // 3
        os.makedirs(self.path("glob"), exist_ok=True)
        for i in range(3):
            write_table(os.path.join(self.path("glob"), f"part-{i}.parquet"), self.rows[i * third:(i + 1) * third])
        yield "glob", [os.path.join(self.path("glob"), "part-*.parquet")]

    def all_alike(self, result, words):
        """result(words) of each input equals that of the first."""
        want, n_inputs = None, 0
        for name, inputs in self.inputs():
            got = result(inputs)
            want = want if n_inputs > 0 else got
            self.assertEqual(got, want, f"{words} of {name}")
            n_inputs += 1
        self.assertEqual(n_inputs, len(WRITTEN) + 4)
        return want

    def weights(self, *words):
        """What a training command leaves: its weights' hash and the card without what names files and times."""
        output = self.path("model")
        shutil.rmtree(output, True)
        card = finch_json(*words, "--output", output, "--max-steps", 2, "--threads", 1, env={"OMP_WAIT_POLICY": "passive"})
        with open(os.path.join(output, "model.safetensors"), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest(), card["metrics"]["log_loss"]

    def test_score_reads_each(self):
        def scored(inputs):
            output = self.path("scored.csv")
            document = finch_json("score", "--model", TINY, "--input", *inputs, "--output", output, "--text-column", "text", "--prefix", "f_")
            self.assertEqual((document["rows"], document["scored"], document["skipped"]), (N_ROWS, N_ROWS, 0))
            return read_csv(output)
        rows = self.all_alike(scored, "score")
        self.assertEqual([row["text"] for row in rows], [row["text"] for row in self.rows])
        self.assertEqual([row["id"] for row in rows], [row["id"] for row in self.rows])

    def test_score_label_and_split_write_each(self):
        source = self.path("in.csv")
        write_table(source, self.rows)
        with Provider() as provider:
            plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
            commands = {
                "score": ("score", "--model", TINY, "--prefix", "f_"),
                "label": ("label", "--state", self.path("state.sqlite"), "--provider-url", provider.url, "--model", "standin/five", "--prefix", "f_"),
            }
            for command, words in commands.items():
                want = None
                for ending in WRITTEN:
                    output = self.path(f"{command}.{ending}")
                    done = finch(*words, "--input", source, "--output", output, "--text-column", "text", env={**plain, "OPENAI_API_KEY": KEY})
                    self.assertEqual(done.returncode, 0, done.stderr)
                    rows = read_table(output)
                    self.assertEqual([row["text"] for row in rows], [row["text"] for row in self.rows], (command, ending))
                    got = [row["f_label"] for row in rows]
                    want = want or got
                    self.assertEqual(got, want, (command, ending))
                    self.assertTrue(all(got), (command, ending))
        for ending in WRITTEN:
            parts = [self.path(f"{part}.{ending}") for part in ("train", "test")]
            done = finch("split", "--input", source, "--train", parts[0], "--test", parts[1])
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = [row["text"] for part in parts for row in read_table(part)]
            self.assertEqual(sorted(rows), sorted(row["text"] for row in self.rows), ending)

    def test_eval_reads_each(self):
        def figures(inputs):
            document = finch_json("eval", "--model", TINY, "--data", *inputs, "--collapse", 3, "--bootstrap", 0)
            return {name: document[name] for name in ("n", "accuracy", "macro_f1", "log_loss", "confusion", "ece")}
        self.assertEqual(self.all_alike(figures, "eval")["n"], N_ROWS)

    def test_train_reads_each(self):
        valid = self.path("valid.csv")
        write_table(valid, read_csv(os.path.join(SOURCE, "data", "fintweets5", "valid.csv"))[:20])
        self.all_alike(lambda inputs: self.weights("train", "--model", TINY, "--train", *inputs, "--valid", valid), "train")

    def test_pretrain_reads_each(self):
        self.all_alike(lambda inputs: self.weights("pretrain", "--model", TINY, "--input", *inputs, "--hold-out", 0.1), "pretrain")

    def test_tokenize_reads_each(self):
        def ids(inputs):
            output = self.path("ids.jsonl")
            self.assertEqual(finch_json("tokenize", "--model", TINY, "--input", *inputs, "--output", output, "--text-column", "text")["rows"], N_ROWS)
            with open(output, encoding="utf-8") as file:
                return file.read()
        self.all_alike(ids, "tokenize")

    def test_label_reads_each(self):
        with Provider() as provider:
            env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}

            def labelled(inputs):
                output = self.path("labels.csv")
                # One store: what was answered once is not asked again, so equal texts must be equal to the byte.
                done = finch("label", "--input", *inputs, "--output", output, "--text-column", "text", "--state", self.path("state.sqlite"), "--provider-url",
                             provider.url, "--model", "standin/five", "--prefix", "f_", env={**env, "OPENAI_API_KEY": KEY})
                self.assertEqual(done.returncode, 0, done.stderr)
                return read_csv(output)
            rows = self.all_alike(labelled, "label")
            self.assertTrue(all(row["f_label"] for row in rows))
            self.assertEqual({text: 1 for text in (row["text"] for row in self.rows)}, dict(provider.answers()))


if __name__ == "__main__":
    unittest.main()
