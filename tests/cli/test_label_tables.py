"""finch label and tables: formats in and out, rows without a text, many files, names."""
import json
import unittest

from label_case import LabelCase, fleet
from truth import class_of


class Tables(LabelCase):
    def write_table(self, name, texts):
        import pyarrow as pa
        import pyarrow.parquet as pq
        ids, path = [10**15 + at for at in range(len(texts))], self.path(name)
        if name.endswith(".parquet"):
            pq.write_table(pa.table({"tweet_id": pa.array(ids, pa.int64()), "body": texts, "post_date": pa.array(ids, pa.timestamp("us"))}), path)
        elif name.endswith(".jsonl"):
            with open(path, "w", encoding="utf-8") as out:
                out.writelines(json.dumps({"tweet_id": n, "body": text}) + "\n" for n, text in zip(ids, texts))
        else:
            self.write_csv(name, ("tweet_id", "body"), zip(ids, ["" if text is None else text for text in texts]))
        return path

    def read_table(self, name):
        path = self.path(name)
        if name.endswith(".parquet"):
            import pyarrow.parquet as pq
            return pq.read_table(path).to_pylist()
        if name.endswith(".jsonl"):
            with open(path, encoding="utf-8") as lines:
                return [json.loads(line) for line in lines]
        return [{**row, "tweet_id": int(row["tweet_id"]), "label": row["label"] or None, "label_reason": row["label_reason"] or None} for row in fleet.read_output(path)]

    def test_every_format_in_and_out(self):
        texts, provider = fleet.tweets(50), self.provider()
        for source in ("in.csv", "in.jsonl", "in.parquet"):
            self.write_table(source, texts)
            for output in ("out.csv", "out.jsonl", "out.parquet"):
                self.label(provider, self.path(source), "--text-column", "body", output=output)
                rows = self.read_table(output)
                self.assertEqual([(10**15 + at, text, class_of(text), None) for at, text in enumerate(texts)],
                                 [(row["tweet_id"], row["body"], row["label"], row["label_reason"]) for row in rows], (source, output))
                self.assertEqual(source == "in.parquet", "post_date" in rows[0])
        self.assertEqual(50, sum(provider.asked().values()), "one store, one model: the same texts are asked once for all nine")

    def test_rows_without_a_text_are_not_asked_and_equal_ones_once(self):
        long = "x" * (64 * 1024 + 1)
        texts = ["$A up", None, "  ", "$A up", long, "$B down", "\u00a0", "$B down ", "nul\0byte"]
        provider = self.provider()
        done = self.label(provider, self.write_table("in.parquet", texts), "--text-column", "body", output="out.jsonl")
        rows = self.read_table("out.jsonl")
        self.assertEqual(texts, [row["body"] for row in rows])
        self.assertEqual([class_of("$A up"), None, None, class_of("$A up"), None, class_of("$B down")], [row["label"] for row in rows[:6]])
        self.assertEqual(["there is no text", "there is no text", "the text is longer than 64 KiB"], [rows[at]["label_reason"] for at in (1, 2, 4)])
        self.assertEqual(class_of("nul byte"), rows[8]["label"])
        self.assertTrue(all(n == 1 for n in provider.asked().values()), provider.asked())
        self.assertEqual((9, 5), (done["rows"], done["texts"]))

    def test_many_files_and_globs_and_stdout(self):
        texts, provider = fleet.tweets(60), self.provider()
        for at in range(3):
            fleet.write_input(self.folder, texts[20 * at:20 * at + 20], f"part-{at}.csv")
        done = fleet.run([fleet.PROGRAM, "label", "--input", self.path("part-*.csv"), "--output", "-", "--state", self.path("s.sqlite"), "--provider-url", provider.url,
                          "--model", "standin/five"], fleet.environment(provider))
        self.assertEqual(0, done.returncode, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(text, class_of(text)) for text in texts], [(row["text"], row["label"]) for row in rows])

    def test_names_that_are_taken_are_told_before_anything_is_paid_for(self):
        provider = self.provider()
        source = self.write_csv("in.csv", ("text", "label"), [(text, "mine") for text in fleet.tweets(20)])
        done = fleet.run(self.words(provider, source), fleet.environment(provider))
        self.assertEqual(2, done.returncode, done.stderr)
        self.assertIn("--prefix", done.stderr)
        self.assertEqual({}, provider.requests())
        self.label(provider, source, "--prefix", "llm_")
        self.assertEqual([("mine", class_of(row["text"])) for row in self.rows()], [(row["label"], row["llm_label"]) for row in self.rows()])


if __name__ == "__main__":
    unittest.main()
