"""finch train --lora on a small random Gemma 3 and the tiny BERT: what comes out scores, opens in PEFT with the same logits, resumes to the same bits
after a kill, and what is wrong is told before any work."""
import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

from finch_cli import SOURCE, finch, finch_json

sys.path.insert(0, os.path.join(SOURCE, "tests", "parity"))
import gemma_models  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
FINCH = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))
LABELS = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
WORDS = "stock up down crash record buy sell dividend call the a of to and".split()


class Trained:
    """What holds of every training on self.base; how: options of train; files: what it writes that must be the same to the bit."""

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="finch-train-lora-"))
        self.addCleanup(shutil.rmtree, self.place, True)
        self.base = self.place / "base"
        self.make_base()
        self.train, self.valid = self.table("train.csv", 96, 1), self.table("valid.csv", 32, 2)

    def run_finch(self, *words, code=0):
        done = finch(*words)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def table(self, name, n, seed):
        draw = np.random.default_rng(seed)
        with (self.place / name).open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["text", "label"])
            for _ in range(n):
                label = int(draw.integers(0, 5))
                words = [WORDS[label]] + [WORDS[i] for i in draw.integers(5, len(WORDS), draw.integers(1, 12))]
                rows.writerow([" ".join(words), LABELS[label]])
        return self.place / name

    def words(self, output, *more):
        return ("train", *self.how, "--model", str(self.base), "--train", str(self.train), "--valid", str(self.valid), "--output",
                str(self.place / output), "--epochs", "3", "--batch", "8", "--learning-rate", "0.01", *map(str, more))

    def logits(self, folder):
        out = self.place / "scored.csv"
        self.run_finch("score", "--model", str(folder), "--input", str(self.valid), "--text-column", "text", "--output", str(out), "--logits", "--prefix", "f_", "--quiet")
        with out.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        columns = [name for name in rows[0] if "logit_" in name]
        self.assertEqual(len(columns), len(LABELS))
        return np.array([[float(row[name]) for name in columns] for row in rows])

    def test_a_killed_run_resumes_to_the_same_bits(self):
        whole = self.words("whole", "--checkpoint-every", 1, "--eval-every", 12)
        self.run_finch(*whole, "--quiet")
        command = [FINCH, *self.words("killed", "--checkpoint-every", 1, "--eval-every", 12), "--quiet"]
        checkpoint = self.place / "killed.training" / "checkpoint.finch"
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run([*command, "--resume"], check=True)
        for name in self.files:
            self.assertEqual((self.place / "whole" / name).read_bytes(), (self.place / "killed" / name).read_bytes(), name)

    def test_early_stopping_on_several_metrics_and_accumulation(self):
        """A rule that is never met after the first evaluation ends it after the patience; three batches of two make one step."""
        card = finch_json(*self.words("out", "--batch", 2, "--accumulate", 3, "--epochs", 40, "--eval-every", 4, "--patience", 3,
                                      "--stop", "macro_f1 and mcc better by 0.9, log_loss not 90% worse", "--checkpoint-activations"))
        training = card["training"]
        self.assertTrue(training["stopped_early"], training)
        self.assertEqual(training["evaluations"], 4)
        self.assertEqual(training["steps"], 16)
        self.assertEqual(training["examples"], 16 * 6)
        for metric in ("macro_f1", "mcc"):
            self.assertIn(metric, training["stop_reason"])


class Case(Trained):
    """Adapters with self.targets, beside a class of transformers."""
    how, files = ("--lora",), ("adapter_model.safetensors", "finch_adapter.json")

    def test_what_comes_out_scores_and_opens_in_peft(self):
        import transformers
        from peft import PeftModel
        card = finch_json(*self.words("out", "--epochs", 12, "--lora-rank", 4, "--lora-targets", self.targets))
        self.assertEqual(card["hyperparameters"]["lora"]["rank"], 4)
        self.assertGreater(card["metrics"]["accuracy"], 0.5)
        found = self.logits(self.place / "out")
        ids = self.place / "ids.jsonl"
        self.run_finch("tokenize", "--model", str(self.place / "out"), "--input", str(self.valid), "--text-column", "text", "--output", str(ids), "--quiet")
        model = getattr(transformers, self.peer).from_pretrained(self.base, num_labels=5, dtype=torch.float32)
        model = PeftModel.from_pretrained(model, self.place / "out").eval()
        with torch.inference_mode():
            expected = np.concatenate([model(input_ids=torch.tensor([json.loads(line)["ids"]])).logits.numpy() for line in ids.read_text().splitlines()])
        self.assertLess(np.abs(found - expected).max(), 1e-4)

    def test_adapters_of_a_bf16_training_open_in_f32(self):
        """Their probes' logits were made of rounded products, which f32 does not give again to 1e-3."""
        finch_json(*self.words("out", "--bf16", "--learning-rate", "0.02", "--lora-rank", 4, "--lora-targets", self.targets))
        self.assertEqual(self.logits(self.place / "out").shape, (32, 5))
        self.assertIs(json.loads((self.place / "out" / "finch_adapter.json").read_text())["exact"], False)


class Gemma(Case, unittest.TestCase):
    peer, targets = "Gemma3TextForSequenceClassification", "q_proj,v_proj,down_proj"

    def make_base(self):
        gemma_models.random_model("Gemma3ForCausalLM", self.base)
        (self.base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS) + "\n")

    def test_what_can_not_be_is_told(self):
        for more, code, words in ((("--lora-targets", "query"), 2, "query"), (("--quantize", "int8"), 2, "quantize"),
                                  (("--lora-rank", "0"), 2, "lora-rank")):
            self.assertIn(words, self.run_finch(*self.words("none", *more), code=code))
        given = list(self.words("none", "--lora-targets", "q_proj"))
        given[given.index(str(self.base))] = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
        self.assertIn("query, key", self.run_finch(*given, code=2))
        self.assertFalse((self.place / "none").exists())


class Bert(Case, unittest.TestCase):
    peer, targets = "BertForSequenceClassification", "query,value,output.dense"

    def make_base(self):
        shutil.copytree(os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert"), self.base)

    def test_an_int8_base_and_bf16_products_train(self):
        base = self.base
        self.run_finch("quantize", "--model", base, "--output", self.place / "int8", "--quiet")
        self.base = self.place / "int8"
        card = finch_json(*self.words("out", "--bf16"))
        self.assertTrue(card["hyperparameters"]["bf16"])
        self.assertEqual(card["hyperparameters"]["lora"]["targets"], "query,value")
        self.assertEqual(self.logits(self.place / "out").shape, (32, 5))
        self.assertIn("holds adapters", self.run_finch(*[str(self.place / "out") if word == str(self.base) else word for word in self.words("more")], code=3))


if __name__ == "__main__":
    unittest.main(verbosity=2)
