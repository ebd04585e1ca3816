"""finch merge: what is written scores as the adapters beside their base do, opens in transformers without PEFT, and merging into int8
is measured and refused past a bound, with nothing left behind."""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from finch_cli import SOURCE, finch, finch_json, read_csv

sys.path.insert(0, os.path.join(SOURCE, "tests", "parity"))
import gemma_models  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

torch.set_num_threads(1)
FIXTURES = pathlib.Path(SOURCE) / "tests" / "fixtures" / "models"
LABELS = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
WORDS = "stock up down crash record buy sell dividend call the a of to and".split()
LOGITS_MAX = 1e-4


class Merge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="finch-merge-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, True)
        draw = np.random.default_rng(4)
        cls.rows = cls.shared / "rows.csv"
        with cls.rows.open("w") as out:
            out.write("text,label\n")
            for _ in range(64):
                label = int(draw.integers(0, 5))
                out.write(" ".join([WORDS[label], *(WORDS[i] for i in draw.integers(5, len(WORDS), 6))]) + f",{LABELS[label]}\n")
        gemma_models.random_model("Gemma3ForCausalLM", cls.shared / "gemma")
        (cls.shared / "gemma" / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS) + "\n")
        shutil.copytree(FIXTURES / "tiny-bert", cls.shared / "bert")
        shutil.copytree(FIXTURES / "tiny-mpnet", cls.shared / "mpnet")
        bare = cls.shared / "bare"  # a checkpoint of the bare model: no prefix, no classifier
        shutil.copytree(FIXTURES / "tiny-bert", bare)
        stored = {name.removeprefix("bert."): value for name, value in load_file(bare / "model.safetensors").items() if not name.startswith("classifier")}
        save_file(stored, bare / "model.safetensors", metadata={"format": "pt"})
        for base, targets in (("gemma", "q_proj,down_proj"), ("bert", "query,value,output.dense"), ("mpnet", "q,v,intermediate.dense"), ("bare", "query")):
            cls.adapt(base, f"{base}-lora", targets)

    @classmethod
    def adapt(cls, base, name, targets):
        finch_json("train", "--lora", "--model", cls.shared / base, "--train", cls.rows, "--valid", cls.valid(),
                   "--output", cls.shared / name, "--lora-targets", targets, "--epochs", 2, "--batch", 8, "--learning-rate", 0.02, "--lora-dropout", 0)

    @classmethod
    def valid(cls):
        path = cls.shared / "valid.csv"
        if not path.exists():
            path.write_text("text,label\n" + "".join(f"{WORDS[i]} {WORDS[5 + i]} of call,{label}\n" for i, label in enumerate(LABELS)))
        return path

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="finch-merge-one-"))
        self.addCleanup(shutil.rmtree, self.place, True)

    def logits(self, folder):
        out = self.place / "scored.csv"
        done = finch("score", "--model", folder, "--input", self.rows, "--text-column", "text", "--output", out, "--logits", "--prefix", "f_", "--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = read_csv(out)
        names = [name for name in rows[0] if "logit_" in name]
        self.assertEqual(len(names), 5)
        return np.array([[float(row[name]) for name in names] for row in rows])

    def in_transformers(self, folder):
        from transformers import AutoModelForSequenceClassification
        ids = self.place / "ids.jsonl"
        self.assertEqual(finch("tokenize", "--model", folder, "--input", self.rows, "--text-column", "text", "--output", ids, "--quiet").returncode, 0)
        model, found = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        self.assertFalse(found["missing_keys"], found)
        self.assertFalse(found["unexpected_keys"], found)
        with torch.inference_mode():
            return np.concatenate([model.eval()(input_ids=torch.tensor([json.loads(line)["ids"]])).logits.numpy() for line in ids.read_text().splitlines()])

    def test_merged_is_the_adapters_beside_their_base(self):
        for base in ("gemma", "bert", "mpnet", "bare"):
            with self.subTest(base):
                out = self.place / base
                report = finch_json("merge", "--adapter", self.shared / f"{base}-lora", "--output", out)
                self.assertGreater(report["merged"], 0)
                self.assertIsNone(report["changes"])
                self.assertFalse((out / "adapter_config.json").exists())
                expected = self.logits(self.shared / f"{base}-lora")
                self.assertLess(np.abs(expected - self.logits(out)).max(), LOGITS_MAX)
                self.assertLess(np.abs(expected - self.in_transformers(out)).max(), LOGITS_MAX)
                self.assertEqual(json.loads((out / "config.json").read_text())["id2label"]["4"], "STRONGLY_POSITIVE")
                self.assertIn("merged", json.loads((out / "finch.json").read_text()))

    def test_a_base_in_bf16_stays_so(self):
        from transformers import BertForSequenceClassification
        base = self.shared / "bf16"
        if not base.exists():
            shutil.copytree(self.shared / "bert", base)
            BertForSequenceClassification.from_pretrained(self.shared / "bert").to(torch.bfloat16).save_pretrained(base)
            self.adapt("bf16", "bf16-lora", "query,value")
        report = finch_json("merge", "--adapter", self.shared / "bf16-lora", "--output", self.place / "out", "--data", self.rows)
        stored = load_file(self.place / "out" / "model.safetensors")
        self.assertEqual(stored["bert.encoder.layer.0.attention.self.query.weight"].dtype, torch.bfloat16)
        self.assertLess(report["changes"]["worst_logit_gap"], 0.1)
        self.assertLess(np.abs(self.logits(self.place / "out") - self.in_transformers(self.place / "out")).max(), 1e-3)

    def int8(self):
        base = self.shared / "int8"
        if not base.exists():
            self.assertEqual(finch("quantize", "--model", self.shared / "bert", "--output", base, "--quiet").returncode, 0)
            self.adapt("int8", "int8-lora", "query,value,dense")
        return self.shared / "int8-lora"

    def test_int8_is_measured(self):
        adapter, out = self.int8(), self.place / "out"
        report = finch_json("merge", "--adapter", adapter, "--output", out, "--data", self.rows, "--max-flipped", 1, "--max-logit-gap", 100, "--max-f1-drop", 1)
        self.assertGreater(report["int8"], 0)
        self.assertEqual(load_file(out / "model.safetensors")["bert.encoder.layer.0.attention.self.query.weight"].dtype, torch.int8)
        before, after = self.logits(adapter), self.logits(out)
        changes = report["changes"]
        self.assertEqual(changes["rows"], 64)
        self.assertAlmostEqual(changes["worst_logit_gap"], np.abs(before - after).max(), delta=1e-5)
        self.assertGreater(changes["worst_logit_gap"], 0)
        self.assertEqual(changes["flipped_labels"], int((before.argmax(1) != after.argmax(1)).sum()))
        from sklearn.metrics import f1_score
        truth = [LABELS.index(row["label"]) for row in read_csv(self.rows)]
        for key, logits in (("macro_f1_before", before), ("macro_f1_after", after)):
            self.assertAlmostEqual(changes[key], f1_score(truth, logits.argmax(1), labels=range(5), average="macro", zero_division=0), delta=1e-9)
        self.assertEqual(json.loads((out / "finch.json").read_text())["merged"]["changes"], changes)

    def test_past_a_bound_nothing_is_written(self):
        adapter = self.int8()
        done = finch("merge", "--adapter", adapter, "--output", self.place / "out", "--data", self.rows, "--max-logit-gap", 0)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("--max-logit-gap", done.stderr)
        self.assertIn("macro F1", done.stderr)
        self.assertEqual([path.name for path in self.place.iterdir()], [])

    def test_int8_without_rows_is_refused_and_floats_are_not(self):
        adapter, out = self.int8(), self.place / "out"
        done = finch("merge", "--adapter", adapter, "--output", out)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("--data", done.stderr)
        self.assertFalse(out.exists())
        finch_json("merge", "--adapter", adapter, "--output", out, "--weights", "f32")
        self.assertNotIn("quantization_config", json.loads((out / "config.json").read_text()))
        self.assertLess(np.abs(self.in_transformers(out) - self.logits(out)).max(), LOGITS_MAX)

    def test_the_wrong_base_and_no_adapter_are_refused(self):
        other = self.place / "other"
        shutil.copytree(self.shared / "bert", other)
        torch.manual_seed(5)
        stored = load_file(other / "model.safetensors")
        save_file({name: torch.randn_like(value) * value.std() if value.dim() == 2 else value for name, value in stored.items()},
                  other / "model.safetensors", metadata={"format": "pt"})
        done = finch("merge", "--model", other, "--adapter", self.shared / "bert-lora", "--output", self.place / "out")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("base", done.stderr)
        done = finch("merge", "--model", self.shared / "bert", "--adapter", self.shared / "bert", "--output", self.place / "out")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("adapter_config.json", done.stderr)
        self.assertFalse((self.place / "out").exists())
        moved = self.place / "moved"
        shutil.copytree(self.shared / "bert", moved)
        finch_json("merge", "--model", moved, "--adapter", self.shared / "bert-lora", "--output", self.place / "out")


if __name__ == "__main__":
    unittest.main(verbosity=2)
