"""finch split: every row once, no cluster in two parts, the sizes and classes that were asked for, and what is refused."""
import collections
import csv
import gzip
import json
import os
import random
import shutil
import unittest
import zlib

import pyarrow as pa
import pyarrow.parquet as pq

from finch_cli import SOURCE, FolderTest, finch, finch_json, read_csv

TWEETS5 = os.path.join(SOURCE, "data", "fintweets5", "train.csv")
STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
WORDS = "apple amazon tesla rises falls beats misses guidance quarter profit shares price target buy sell hold upgrade downgrade".split()


class Split(FolderTest):
    def table(self, name="in.csv", n=300, seed=1, **columns):
        """Texts of random words, every tenth a copy of an earlier one; label A to C; writer; day."""
        draw = random.Random(seed)
        rows, texts = [], []
        for i in range(n):
            text = draw.choice(texts) if texts and i % 10 == 9 else " ".join(draw.choice(WORDS) for _ in range(12)) + f" {draw.randrange(10**6)}"
            texts.append(text)
            row = {"id": str(i), "text": text, "label": draw.choice("AABC"), "writer": f"w{draw.randrange(40)}",
                   "post_date": f"2020-{1 + i * 11 // n:02d}-{1 + i % 28:02d}"}
            row.update({key: make(i, row) for key, make in columns.items()})
            rows.append(row)
        with open(self.path(name), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        return self.path(name), rows

    def parts(self, *words, **more):
        """The document and the rows of train, valid and test."""
        names = [self.path(f"{part}.csv") for part in ("train", "valid", "test")]
        document = finch_json("split", "--train", names[0], "--valid", names[1], "--test", names[2], *words, **more)
        return document, [read_csv(name) for name in names]

    def test_every_row_once_and_clusters_whole(self):
        path, rows = self.table()
        document, parts = self.parts("--input", path, "--valid-size", "20%", "--test-size", "50")
        self.assertEqual(sorted(row["id"] for part in parts for row in part), sorted(row["id"] for row in rows))
        by_id = {row["id"]: row for row in rows}
        for part in parts:
            self.assertTrue(all(row == by_id[row["id"]] for row in part))
            self.assertEqual([int(row["id"]) for row in part], sorted(int(row["id"]) for row in part))
        where = collections.defaultdict(set)
        for number, part in enumerate(parts):
            for row in part:
                where[row["text"]].add(number)
        self.assertEqual(max(map(len, where.values())), 1)
        self.assertEqual((document["rows"], document["leaks"], document["by"], document["clusters"]), (300, 0, "label", "texts"))
        self.assertGreater(document["rows_in_shared_units"], 50)
        self.assertEqual([part["asked"] for part in document["parts"]], [190, 60, 50])
        for part, got in zip(document["parts"], parts):
            self.assertEqual(part["rows"], len(got))
            self.assertEqual({name: value["rows"] for name, value in part["classes"].items()}, dict(collections.Counter(row["label"] for row in got)))

    def test_real_rows_meet_every_target(self):
        document, parts = self.parts("--input", TWEETS5, "--test-size", "500")
        self.assertEqual([part["rows"] for part in document["parts"]], [6527, 781, 500])
        total = collections.Counter(row["label"] for part in parts for row in part)
        for part in document["parts"]:
            for name, value in part["classes"].items():
                self.assertEqual(value["rows"], value["asked"])
                self.assertLessEqual(abs(value["rows"] - total[name] * part["rows"] / 7808), 1)

    def test_the_seed_and_nothing_else_decides(self):
        path, _ = self.table()
        first = self.parts("--input", path, "--threads", "1")[1]
        self.assertEqual(self.parts("--input", path, "--threads", "2")[1], first)
        self.assertNotEqual(self.parts("--input", path, "--seed", "2")[1], first)

    def test_all_formats_in_and_out(self):
        path, rows = self.table()
        for ending in ("csv", "parquet", "jsonl", "json", "csv.gz", "jsonl.zst", "tsv"):
            source, names = self.path("s." + ending), [self.path(f"{part}.{ending}") for part in ("a", "b", "c")]
            self.assertEqual(finch("data", "convert", path, "--output", source).returncode, 0)
            document = finch_json("split", "--input", source, "--train", names[0], "--valid", names[1], "--test", names[2])
            self.assertEqual((document["leaks"], [p["rows"] for p in document["parts"]]), (0, [240, 30, 30]), ending)
            joined = self.path("joined.csv")
            self.assertEqual(finch("data", "convert", *names, "--output", joined).returncode, 0)
            self.assertEqual(sorted(r["text"] for r in read_csv(joined)), sorted(r["text"] for r in rows))

    def test_values_keep_their_bytes_from_csv_to_csv(self):
        path = self.write("a.csv", "id,text,label\n" + "".join(f"00{i},\"one, {i} thing\n{i * 7919}\",1.{i % 2}0\n" for i in range(40)))
        _, parts = self.parts("--input", path, "--clusters", "none")
        self.assertEqual({row["label"] for part in parts for row in part}, {"1.00", "1.10"})
        self.assertTrue(all(row["id"].startswith("00") and "\n" in row["text"] for part in parts for row in part))

    def test_groups_stay_together(self):
        path, _ = self.table(n=600, writer=lambda i, row: f"w{zlib.crc32(row['text'].encode()) % 40}")
        document, parts = self.parts("--input", path, "--group-column", "writer")
        writers = [{row["writer"] for row in part} for part in parts]
        self.assertFalse(writers[0] & writers[1] or writers[0] & writers[2] or writers[1] & writers[2])
        for part in document["parts"]:
            self.assertLess(abs(part["rows"] - part["asked"]), 40)

    def test_a_cluster_column_is_used_and_its_gaps_are_seen(self):
        texts = {}
        path, _ = self.table(cluster_id=lambda i, row: texts.setdefault(row["text"], i))
        document, _ = self.parts("--input", path)
        self.assertEqual((document["clusters"], document["leaks"]), ("column", 0))
        blind, _ = self.table("blind.csv", cluster_id=lambda i, row: i)
        for name in ("train", "valid", "test"):
            self.write(f"{name}.csv", "old\n")
        words = ["split", "--input", blind, *(f"--{p}={self.path(p)}.csv" for p in ("train", "valid", "test"))]
        done = finch(*words, "--clusters", "column")
        self.assertEqual(done.returncode, 3)
        self.assertIn("--clusters both", done.stderr)
        for name in ("train", "valid", "test"):
            self.assertEqual(read_csv(self.path(f"{name}.csv")), [])
        done = finch(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the column cluster_id misses near-duplicates", done.stderr)
        written = [read_csv(self.path(f"{name}.csv")) for name in ("train", "valid", "test")]
        both = self.parts("--input", blind, "--clusters", "both")
        self.assertEqual((both[0]["clusters"], both[0]["leaks"]), ("both", 0))
        self.assertEqual(written, both[1])
        self.assertIsNone(self.parts("--input", blind, "--clusters", "none")[0]["leaks"])

    def test_by_time(self):
        path, rows = self.table()
        document, parts = self.parts("--input", path, "--by", "time", "--dropped", self.path("d.csv"))
        dropped = read_csv(self.path("d.csv"))
        self.assertEqual(sorted(row["id"] for part in parts + [dropped] for row in part), sorted(row["id"] for row in rows))
        days = [[row["post_date"] for row in part] for part in parts]
        self.assertLess(max(days[0]), min(days[1]))
        self.assertLess(max(days[1]), min(days[2]))
        self.assertGreater(len(dropped), 0)
        self.assertEqual((document["late_copies"], document["dropped"], document["leaks"]), (len(dropped), len(dropped), 0))
        self.assertTrue(all(row["text"] in {r["text"] for part in parts for r in part} for row in dropped))
        self.assertEqual([part["from"][:10] for part in document["parts"]], [min(d) for d in days])
        self.assertEqual([part["to"][:10] for part in document["parts"]], [max(d) for d in days])
        kept, kept_parts = self.parts("--input", path, "--by", "time")
        self.assertEqual((kept["late_copies"], kept["dropped"], sum(map(len, kept_parts))), (len(dropped), 0, 300))
        self.assertIn("went with the texts they copy",
                      finch("split", "--input", path, "--by", "time", "--train", self.path("x.csv"), "--test", self.path("y.csv")).stderr)

    def test_times_of_every_kind(self):
        for name, make in {"unix": lambda i: i * 1000, "stamp": lambda i: f"2020-01-{1 + i // 20:02d} 10:00:{i % 20:02d}",
                           "zoned": lambda i: f"2020-01-{1 + i // 20:02d}T10:00:{i % 20:02d}Z",
                           "twitter": lambda i: f"Wed Jan {1 + i // 20:02d} 10:00:{i % 20:02d} +0000 2020"}.items():
            path, _ = self.table(f"{name}.csv", when=lambda i, row, make=make: make(i))
            for source in (path, self.path("t.parquet")):
                if source != path:
                    self.assertEqual(finch("data", "convert", path, "--output", source).returncode, 0)
                document, parts = self.parts("--input", source, "--by", "time", "--time-column", "when", "--dropped", self.path("d.csv"))
                ids = [[int(row["id"]) for row in part] for part in parts]
                self.assertTrue(max(ids[0]) < min(ids[1]) and max(ids[1]) < min(ids[2]), name)
                self.assertEqual(len(ids[2]), 30)

    def test_folds_as_a_column_and_as_folders(self):
        path, rows = self.table()
        document = finch_json("split", "--input", path, "--folds", 5, "--output", self.path("f.csv"))
        table = read_csv(self.path("f.csv"))
        self.assertEqual([row["id"] for row in table], [row["id"] for row in rows])
        self.assertEqual(collections.Counter(row["fold"] for row in table), {str(k): 60 for k in range(5)})
        fold_of = {row["id"]: int(row["fold"]) for row in table}
        finch_json("split", "--input", path, "--folds", 5, "--output", self.path("folds"), "--format", "csv")
        for k in range(5):
            valid, train = read_csv(self.path(f"folds/fold-{k}/valid.csv")), read_csv(self.path(f"folds/fold-{k}/train.csv"))
            self.assertEqual({row["id"] for row in valid}, {i for i, fold in fold_of.items() if fold == k})
            self.assertEqual({row["id"] for row in train}, {i for i, fold in fold_of.items() if fold != k})
        self.assertEqual((document["leaks"], len(document["parts"])), (0, 5))
        again = finch("split", "--input", path, "--folds", 5, "--output", self.path("folds"))
        self.assertEqual(again.returncode, 2)
        self.assertIn("is there already", again.stderr)

    def test_folds_beside_a_test_part(self):
        path, rows = self.table()
        finch_json("split", "--input", path, "--folds", 3, "--output", self.path("f.parquet"), "--test", self.path("t.csv"), "--test-size", 60)
        folds, test = pq.read_table(self.path("f.parquet")).to_pylist(), read_csv(self.path("t.csv"))
        self.assertEqual(collections.Counter(row["fold"] for row in folds), {0: 80, 1: 80, 2: 80})
        self.assertEqual(sorted([str(row["id"]) for row in folds] + [row["id"] for row in test]), sorted(row["id"] for row in rows))
        self.assertFalse({row["text"] for row in folds} & {row["text"] for row in test})

    def test_rare_classes_and_rows_without_a_label(self):
        path, rows = self.table(label=lambda i, row: "once" if i == 7 else "" if i % 3 == 0 else "A")
        document, _ = self.parts("--input", path)
        once = [part["classes"]["once"]["rows"] for part in document["parts"]]
        self.assertEqual(once, [1, 0, 0])
        self.assertEqual(sum(part["classes"][""]["rows"] for part in document["parts"]), 100)
        self.assertIn("(no label)", finch("split", "--input", path, "--train", self.path("a.csv"), "--test", self.path("b.csv")).stderr)

    def test_broken_rows_are_set_aside(self):
        path = self.write("a.csv", "id,text,label\n" + "".join(f"{i},t{i * 7919},A\n" for i in range(30)) + "99\n")
        document, parts = self.parts("--input", path)
        self.assertEqual((document["rejected"], sum(map(len, parts))), (1, 30))
        self.assertEqual([row["line"] for row in read_csv(self.path("rejects.csv"))], ["32"])
        self.assertEqual(finch("split", "--strict", "--input", path, "--train", self.path("x.csv"), "--test", self.path("y.csv")).returncode, 3)

    def test_what_can_not_be_is_said(self):
        path, _ = self.table()
        a, b = self.path("a.csv"), self.path("b.csv")
        os.mkdir(self.path("sub"))
        shutil.copy(path, self.path("sub/in.csv"))
        cut = self.path("cut.parquet")
        with open(STOCKNET, "rb") as whole, open(cut, "wb") as file:
            file.write(whole.read(100_000))
        lists = self.path("lists.parquet")
        pq.write_table(pa.table({"text": ["a", "b"], "post_date": [[1], [2]]}), lists)
        to, ab = ["--train", a, "--test", b], ["--input", path, "--train", a, "--test", b]
        cases = [
            (["--input", path], 2, "--train"), (["--input", path, "--train", a], 2, "--valid or --test"),
            (["--input", path, "--train", a, "--test", a], 2, "two outputs"),
            (["--input", path, "--train", a, "--test", self.path("sub/../a.csv")], 2, "two outputs"),
            (["--input", path, "--train", a, "--test", path], 2, "input and an output"),
            (["--input", path, "--train", a, "--test", self.path("sub/../in.csv")], 2, "input and an output"),
            ([*ab, "--dropped", self.path("d.csv")], 2, "--by time"),
            ([*ab, "--test-size", "300"], 2, "do not add up"), ([*ab, "--test-size", "2000"], 2, "do not add up"),
            ([*ab, "--valid", self.path("c.csv"), "--valid-size", "0.6", "--test-size", "0.5"], 2, "do not add up"),
            ([*ab, "--test-size", "1.5"], 2, "no size"), ([*ab, "--test-size", "0"], 2, "no size"), ([*ab, "--test-size=-5"], 2, "no size"),
            ([*ab, "--valid-size", "5"], 2, "--valid FILE"), ([*ab, "--folds", "3"], 2, "--folds"),
            (["--input", path, "--folds", "3"], 2, "--output"), ([*ab, "--output", self.path("f.csv")], 2, "--folds"),
            ([*ab, "--by", "time", "--group-column", "writer"], 2, "contradict"),
            ([*ab, "--cluster-column", "kluster"], 3, "no column \"kluster\""), ([*ab, "--clusters", "column"], 3, "cluster_id"),
            ([*ab, "--label-column", "lable"], 3, "--label-column label"), ([*ab, "--label-column", "nope"], 3, "nope"),
            ([*ab, "--text-column", "txt"], 3, "--text-column text"), ([*ab, "--group-column", "x"], 3, "\"x\""),
            ([*ab, "--by", "time", "--time-column", "text"], 3, "no time that can be read"),
            ([*ab, "--by", "time", "--time-column", "zeit"], 3, "zeit"),
            (["--input", lists, *to, "--by", "time"], 3, "not times"),
            (["--input", self.write("empty.csv", ""), *to], 3, "empty"), (["--input", self.write("head.csv", "text,label\n"), *to], 3, "no row"),
            (["--input", self.write("one.csv", "text,label\nx,A\n"), *to], 2, "do not add up"),
            (["--input", cut, *to], 3, "cut"), (["--input", self.path("no.csv"), *to], 1, "no such file"),
            (["--input", path, "--train", a, "--test", self.path("t.xlsx")], 2, "ending"),
            (["--input", path, "--train", a, "--test", self.path("no/t.csv")], 1, "folder exists"),
            (["--input", path, "--train", a, "--test", "-"], 2, "-"),
            (["--input", path, self.write("other.csv", "words,n\nx,1\n"), *to, "--label-column", "label"], 3, "other.csv"),
            (["--input", self.write("same.csv", "text,label\n" + "the very same tweet again,A\n" * 50), *to], 3, "no row is left"),
        ]
        for words, code, said in cases:
            done = finch("split", *words)
            self.assertEqual(done.returncode, code, f"{words}: {done.stderr}")
            self.assertIn(said, done.stderr, words)
            left = sorted(set(os.listdir(self.folder)) - {"in.csv", "sub", "cut.parquet", "lists.parquet", "empty.csv", "head.csv", "one.csv", "other.csv", "same.csv"})
            self.assertEqual(left, [], f"{words} left files behind")

    def test_a_class_column_must_have_few_values(self):
        path, _ = self.table(n=1200, label=lambda i, row: i)
        done = finch("split", "--input", path, "--train", self.path("a.csv"), "--test", self.path("b.csv"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("more than 1000 different values", done.stderr)

    def test_hostile_names_and_texts(self):
        path = self.path("in.jsonl.gz")
        with gzip.open(path, "wt", encoding="utf-8") as file:
            for i in range(60):
                json.dump({"te\"xt's": None if i % 20 == 0 else "" if i % 20 == 1 else f"\u202e'\"{i * 7919}; DROP\n\t\\ \U0001F680", "label": "A", "n": [i]}, file)
                file.write("\n")
        names = [self.path("a'b.jsonl"), self.path("c\"d.csv")]
        document = finch_json("split", "--input", path, "--text-column", "te\"xt's", "--train", names[0], "--test", names[1])
        self.assertEqual((document["leaks"], [p["rows"] for p in document["parts"]]), (0, [54, 6]))
        with open(names[0], encoding="utf-8") as file:
            self.assertEqual(len({json.loads(line)["n"][0] for line in file}), 54)


if __name__ == "__main__":
    unittest.main()
