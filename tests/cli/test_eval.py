"""finch eval on a small model: its figures are scikit-learn's on the probabilities that finch score gives, and what is
wrong with the data is said with its row."""
import csv
import json
import os
import shutil
import tempfile
import unittest

import numpy as np
from sklearn import metrics as sk

from finch_cli import SOURCE, finch, finch_json


def read_json(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f)


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


FIVE = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
VALID = os.path.join(SOURCE, "data/fintweets5/valid.csv")
MODEL = os.path.join(SOURCE, "tests/fixtures/models/tiny-bert")


def five_class_copy(folder, seed):
    """The tiny model with labels of the five-class scheme and a head drawn from the seed (the fixture's own where 0)."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(MODEL, folder)
    path = os.path.join(folder, "config.json")
    config = read_json(path)
    config["id2label"] = {str(i): n for i, n in enumerate(FIVE)}
    config["label2id"] = {n: i for i, n in enumerate(FIVE)}
    write_json(path, config)
    weights = load_file(os.path.join(folder, "model.safetensors"))
    draw = np.random.default_rng(seed)
    hidden = config["hidden_size"]
    weights["classifier.weight"] = draw.normal(0, 1.0, (5, hidden)).astype(np.float32)
    weights["classifier.bias"] = draw.normal(0, 0.5, 5).astype(np.float32)
    save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


class Eval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.first = os.path.join(cls.folder, "first")
        cls.second = os.path.join(cls.folder, "second")
        five_class_copy(cls.first, 1)
        five_class_copy(cls.second, 2)
        rows = read_rows(VALID)[:400]
        cls.rows = rows
        cls.data = os.path.join(cls.folder, "valid.csv")
        cls.write(cls.data, rows)
        scored = os.path.join(cls.folder, "scored.csv")
        done = finch("score", "--model", cls.first, "--input", cls.data, "--output", scored, "--text-column", "text", "--prefix", "m_",
                     "--logits", "--compute", "f32")
        assert done.returncode == 0, done.stderr
        out = read_rows(scored)
        logits = np.array([[float(r["m_logit_" + n.lower()]) for n in FIVE] for r in out], dtype=np.float64)
        e = np.exp(logits - logits.max(1, keepdims=True))
        cls.probs = e / e.sum(1, keepdims=True)
        cls.truth = np.array([FIVE.index(r["label"]) for r in rows])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @staticmethod
    def write(path, rows):
        with open(path, "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def check_figures(self, got, truth, probs, labels):
        predicted = probs.argmax(1)
        classes = list(range(len(labels)))
        self.assertEqual(got["labels"], labels)
        self.assertEqual(got["n"], len(truth))
        self.assertEqual(got["confusion"], sk.confusion_matrix(truth, predicted, labels=classes).tolist())
        expected = {
            "accuracy": sk.accuracy_score(truth, predicted),
            "macro_f1": sk.f1_score(truth, predicted, labels=classes, average="macro", zero_division=0),
            "weighted_f1": sk.f1_score(truth, predicted, labels=classes, average="weighted", zero_division=0),
            "kappa": sk.cohen_kappa_score(truth, predicted),
            "mcc": sk.matthews_corrcoef(truth, predicted),
            "roc_auc": sk.roc_auc_score(truth, probs, multi_class="ovr", labels=classes),
            "log_loss": sk.log_loss(truth, probs, labels=classes),
        }
        for name, value in expected.items():
            # finch score prints logits as decimal text of f32: 1e-6 on what depends on their values, not their order.
            self.assertAlmostEqual(got[name], value, delta=1e-6, msg=name)

    def test_figures_are_those_of_scikit_learn(self):
        got = finch_json("eval", "--model", self.first, "--data", self.data, "--compute", "f32", "--bootstrap", "200")
        self.check_figures(got, self.truth, self.probs, FIVE)
        low, high = got["intervals"]["accuracy"]
        self.assertLess(low, got["accuracy"])
        self.assertLess(got["accuracy"], high)
        self.assertIsNone(got["training_rows_seen"])
        self.assertEqual(sum(s["n"] for s in got["slices"]["length"]) <= 400, True)
        self.assertGreater(got["texts_per_second"], 0)

    def test_collapsed_to_three(self):
        got = finch_json("eval", "--model", self.first, "--data", self.data, "--compute", "f32", "--collapse", "3", "--bootstrap", "0")
        three = np.stack([self.probs[:, :2].sum(1), self.probs[:, 2], self.probs[:, 3:].sum(1)], 1)
        self.check_figures(got, np.array([0, 0, 1, 2, 2])[self.truth], three, ["NEGATIVE", "NEUTRAL", "POSITIVE"])

    def test_two_models_side_by_side(self):
        got = finch_json("eval", "--model", self.first, self.second, "--data", self.data, "--compute", "f32", "--bootstrap", "0")
        self.assertEqual([os.path.basename(m["model"]) for m in got["models"]], ["first", "second"])
        comparison = got["comparisons"][0]
        self.assertGreater(comparison["only_first_right"] + comparison["only_second_right"], 0)
        self.assertTrue(0 <= comparison["mcnemar_p"] <= 1)
        a, b = (m["accuracy"] * m["n"] for m in got["models"])
        self.assertAlmostEqual(a - b, comparison["only_first_right"] - comparison["only_second_right"], delta=1e-6)

    def test_the_report_is_written_whole_and_asks_nobody(self):
        path = os.path.join(self.folder, "report.html")
        done = finch("eval", "--model", self.first, "--data", self.data, "--output", path, "--bootstrap", "50", "--abstain-below", "0.5")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(path, encoding="utf-8") as f:
            page = f.read()
        self.assertIn("silent below 0.50", done.stderr)
        self.assertTrue(page.startswith("<!doctype html>") and page.rstrip().endswith("</html>"))
        self.assertEqual(page.count("<svg"), 3)
        for word in ("<script", "src=", "@import", "url("):
            self.assertNotIn(word, page)

    def test_rows_without_a_label_are_counted_and_left_out(self):
        rows = [dict(r) for r in self.rows[:50]]
        for r in rows[:7]:
            r["label"] = ""
        path = os.path.join(self.folder, "partly.csv")
        self.write(path, rows)
        got = finch_json("eval", "--model", self.first, "--data", path, "--bootstrap", "0")
        self.assertEqual((got["n"], got["unlabelled"]), (43, 7))

    def test_a_foreign_label_stops_with_its_row(self):
        rows = [dict(r) for r in self.rows[:20]]
        rows[11]["label"] = "BULLISHISH"
        path = os.path.join(self.folder, "foreign.csv")
        self.write(path, rows)
        done = finch("eval", "--model", self.first, "--data", path)
        self.assertEqual(done.returncode, 3)
        self.assertIn("foreign.csv, row 12", done.stderr)
        self.assertIn("BULLISHISH", done.stderr)
        self.assertIn("STRONGLY_POSITIVE", done.stderr)

    def test_what_is_missing_is_named(self):
        done = finch("eval", "--model", self.first, "--data", self.data, "--label-column", "lable")
        self.assertEqual(done.returncode, 3)
        self.assertIn("lable", done.stderr)
        self.assertIn("label2", done.stderr)
        done = finch("eval", "--model", self.first, "--data", os.path.join(self.folder, "absent.csv"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("absent.csv", done.stderr)
        done = finch("eval", "--model", self.first, "--data", self.data, "--abstain-below", "7")
        self.assertEqual(done.returncode, 2)

    def test_models_of_other_classes_are_refused_together(self):
        other = os.path.join(self.folder, "other")
        shutil.copytree(self.first, other)
        path = os.path.join(other, "config.json")
        config = read_json(path)
        config["id2label"]["4"] = "SIDEWAYS"
        write_json(path, config)
        done = finch("eval", "--model", self.first, other, "--data", self.data)
        self.assertEqual(done.returncode, 2)
        self.assertIn("SIDEWAYS", done.stderr)
        shutil.rmtree(other)


if __name__ == "__main__":
    unittest.main()
