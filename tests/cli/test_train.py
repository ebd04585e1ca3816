"""finch train and finch pretrain on real tweets and the tiny BERT: what comes out opens in transformers and scores the same
there; what is wrong is told before any work, with the right exit code."""
import csv
import hashlib
import json
import os
import shutil
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

from finch_cli import SOURCE, finch, finch_json, unprivileged

TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
PASSIVE = {"OMP_WAIT_POLICY": "passive"}


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-train-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.train = self.take("data/fintweets5/train.csv", 200, "train.csv")
        self.valid = self.take("data/fintweets5/valid.csv", 50, "valid.csv")
        self.coarse = self.take("data/tfns/train.csv", 100, "coarse.csv")

    def path(self, name):
        return os.path.join(self.folder, name)

    def take(self, source, n, name):
        with open(os.path.join(SOURCE, source), encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))[:n + 1]
        return self.write(name, rows)

    def write(self, name, rows):
        with open(self.path(name), "w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows(rows)
        return self.path(name)

    def words(self, output, *more):
        return ("train", "--model", TINY, "--train", self.train, "--valid", self.valid, "--output", self.path(output), "--epochs", 2,
                "--learning-rate", 0.003, *more)


class Train(Folder):
    def test_the_model_opens_in_transformers_and_says_the_same(self):
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        card = finch_json(*self.words("model", "--coarse-train", self.coarse, "--class-weights", "sqrt"), env=PASSIVE)
        model, loading = AutoModelForSequenceClassification.from_pretrained(self.path("model"), output_loading_info=True)
        self.assertEqual(([], []), (list(loading["missing_keys"]), list(loading["unexpected_keys"])))
        model.eval()
        tokenizer = AutoTokenizer.from_pretrained(self.path("model"))
        with open(self.valid, encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        labels = card["metrics"]["labels"]
        self.assertEqual(labels, [model.config.id2label[i] for i in range(5)])
        log_loss = right = 0
        with torch.no_grad():
            for row in rows:
                logits = model(**tokenizer(row["text"], truncation=True, max_length=128, return_tensors="pt")).logits[0].double()
                log_probs = torch.log_softmax(logits / card["calibration"]["temperature"], dim=0)
                log_loss -= float(log_probs[labels.index(row["label"])])
                right += labels[int(log_probs.argmax())] == row["label"]
        self.assertEqual(len(rows), card["metrics"]["n"])
        self.assertAlmostEqual(log_loss / len(rows), card["metrics"]["log_loss"], places=5)
        self.assertAlmostEqual(right / len(rows), card["metrics"]["accuracy"], places=9)

    def test_no_validation_or_excluded_row_is_found_seen(self):
        """finch eval compares by the fingerprints in the model, train by those of the rows to leave out: they must agree."""
        test = self.take("data/tfns/valid.csv", 60, "test.csv")
        texts = {}
        for path in (self.train, self.valid, test):
            with open(path, encoding="utf-8", newline="") as lines:
                texts[path] = [row["text"] for row in csv.DictReader(lines)]
        held_out = texts[self.valid] + texts[test]
        copies = ["RT @someone: " + text.replace("S", "s") + " https://t.co/copy" for text in held_out]
        edits = [text + " wow" for text in held_out if len(text) > 120 and "http" not in text[:120]]
        train = self.write("copied.csv", [["text", "label"]] + [[text, "NEUTRAL"] for text in texts[self.train] + copies + edits])
        card = finch_json("train", "--model", TINY, "--train", train, "--valid", self.valid, "--exclude", test, "--output",
                          self.path("model"), "--max-steps", 2, env=PASSIVE)
        counts = card["examples"]["train"]
        self.assertGreaterEqual(counts["excluded"], len(copies))
        self.assertGreater(len(edits), 5)
        self.assertGreater(counts["nearly_excluded"], len(edits) * 0.9)
        self.assertEqual(len(texts[self.train]) + len(copies) + len(edits),
                         counts["used"] + counts["excluded"] + counts["nearly_excluded"])
        for path, more in ((self.valid, ()), (test, ("--collapse", 3))):
            seen = finch_json("eval", "--model", self.path("model"), "--data", path, *more)
            self.assertEqual({"seen": 0, "nearly_seen": 0}, seen["training_rows_seen"])

    def test_the_card_is_the_document_and_tells_the_files(self):
        document = finch_json(*self.words("model", "--max-steps", 6, "--seed", 9), env=PASSIVE)
        with open(os.path.join(self.path("model"), "finch.json")) as text:
            card = json.load(text)
        self.assertEqual(card, {key: value for key, value in document.items() if key in card})
        self.assertEqual({"output", "peak_rss_bytes"}, set(document) - set(card))
        with open(self.train, "rb") as data:
            digest = hashlib.sha256(data.read()).hexdigest()
        self.assertEqual([{"file": "train.csv", "sha256": digest, "rows": 200, "rejected": 0}], card["data"]["train"])
        self.assertEqual((6, 9), (card["training"]["steps"], card["hyperparameters"]["seed"]))
        self.assertNotIn(self.folder, json.dumps(card))  # a card tells no place on this machine
        with open(os.path.join(self.path("model"), "metrics.jsonl")) as lines:
            events = [json.loads(line) for line in lines]
        self.assertEqual({"train", "evaluation"}, {event["event"] for event in events})
        self.assertEqual(6, events[-1]["step"])

    def test_pretraining_gives_a_folder_for_transformers_and_for_training(self):
        from transformers import AutoModelForMaskedLM
        card = finch_json("pretrain", "--model", TINY, "--input", self.train, "--exclude", self.valid, "--output", self.path("domain"),
                          "--hold-out", 0.2, "--learning-rate", 0.001, env=PASSIVE)
        self.assertLess(card["metrics"]["log_loss"], 9)
        _, loading = AutoModelForMaskedLM.from_pretrained(self.path("domain"), output_loading_info=True)
        # The pooler is kept for training; BertForMaskedLM has none.
        self.assertEqual(([], {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}),
                         (list(loading["missing_keys"]), set(loading["unexpected_keys"])))
        trained = finch_json("train", "--model", self.path("domain"), "--train", self.train, "--valid", self.valid, "--output", self.path("model"),
                             "--max-steps", 3, env=PASSIVE)
        self.assertEqual("domain", trained["base_model"])
        self.assertEqual("fill-mask", trained["base_card"]["task"])
        self.assertEqual(5, len(trained["metrics"]["labels"]))


class Refused(Folder):
    def check(self, code, *says, words=None, more=()):
        done = finch(*(words or self.words("model", *more)), env=PASSIVE)
        self.assertEqual(code, done.returncode, done.stderr)
        self.assertEqual("", done.stdout)
        for word in says:
            self.assertIn(word, done.stderr)
        self.assertEqual([], [name for name in os.listdir(self.folder) if name.startswith("model")])  # nothing was begun

    def test_a_label_outside_the_set(self):
        self.train = self.write("bad.csv", [["text", "label"], ["buy", "POSITIVE"], ["two\nlines", "NEUTRAL"], ["sell", "negativ"]])
        self.check(3, "bad.csv", "row 3", '"negativ"', "STRONGLY_POSITIVE")

    def test_a_coarse_label_outside_the_three(self):
        coarse = self.write("three.csv", [["text", "label"], ["buy", "bullish"], ["sell", "STRONGLY_NEGATIVE"]])
        self.check(3, "three.csv", "row 2", "bearish", more=("--coarse-train", coarse))

    def test_a_validation_row_of_two_classes(self):
        self.valid = self.write("both.csv", [["text", "label"], ["buy", "POSITIVE|NEUTRAL"]])
        self.check(3, "validation")

    def test_a_column_that_is_not_there(self):
        self.check(3, "lable", "label", more=("--label-column", "lable"))

    def test_broken_rows_are_counted_and_told(self):
        with open(self.train, "a", encoding="utf-8") as lines:
            lines.write('ragged\n')
        done = finch(*self.words("model", "--max-steps", 1, "--json"), env=PASSIVE)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(1, json.loads(done.stdout)["data"]["train"][0]["rejected"])
        self.assertRegex(done.stderr, r"1 broken rows were set aside, see .*rejects.csv: .*train.csv line \d+ \(1 fields")

    def test_only_unlabelled_rows(self):
        self.train = self.write("empty.csv", [["text", "label"], ["buy", ""], ["sell", " "]])
        self.check(3, "empty.csv", "2 without a label")

    def test_training_rows_that_are_all_validation_rows(self):
        self.train = self.valid
        self.check(3, "50 excluded")

    def test_rules_metrics_weights_and_switches_that_make_no_sense(self):
        self.check(2, "\"f1\"", "macro_f1", more=("--stop", "f1 better"))
        self.check(2, "f1", more=("--keep", "f1"))
        self.check(2, "class weights", more=("--class-weights", "1,2"))
        self.check(2, "--resume", more=("--resume", "--restart"))
        self.check(2, "empty name", more=("--labels", "A,,B"))
        self.check(2, "named twice", more=("--labels", "A,B,A"))

    def test_files_that_are_not_there(self):
        self.train = self.path("missing.csv")
        self.check(1, "missing.csv")
        self.train = self.take("data/fintweets5/train.csv", 5, "train.csv")
        self.check(1, words=("train", "--model", self.path("nowhere"), "--train", self.train, "--valid", self.valid, "--output", self.path("model")))

    def test_an_output_without_permission(self):
        who = unprivileged()
        if who is None:
            self.skipTest("the program lies where only root may run it")
        os.chmod(self.folder, 0o755)
        os.mkdir(self.path("locked"), 0o555)
        done = finch(*self.words("locked/model"), env=PASSIVE, **who)
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertIn("ermission", done.stderr)
        self.assertEqual([], os.listdir(self.path("locked")))


if __name__ == "__main__":
    unittest.main()
