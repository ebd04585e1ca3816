"""finch train --lora on a small random Gemma 3: what comes out scores, opens in PEFT with the same logits, resumes to the same bits
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


class TrainLora(unittest.TestCase):
    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="finch-train-lora-"))
        self.addCleanup(shutil.rmtree, self.place, True)
        self.base = self.place / "base"
        gemma_models.random_model("Gemma3ForCausalLM", self.base)
        (self.base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS) + "\n")
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
        return ("train", "--lora", "--model", str(self.base), "--train", str(self.train), "--valid", str(self.valid), "--output",
                str(self.place / output), "--epochs", "3", "--batch", "8", "--learning-rate", "0.01", *map(str, more))

    def logits(self, folder):
        out = self.place / "scored.csv"
        self.run_finch("score", "--model", str(folder), "--input", str(self.valid), "--text-column", "text", "--output", str(out), "--logits", "--prefix", "f_", "--quiet")
        with out.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        columns = [name for name in rows[0] if "logit_" in name]
        self.assertEqual(len(columns), len(LABELS))
        return np.array([[float(row[name]) for name in columns] for row in rows])

    def test_what_comes_out_scores_and_opens_in_peft(self):
        from peft import PeftModel
        from transformers import Gemma3TextForSequenceClassification
        card = finch_json(*self.words("out", "--lora-rank", 4, "--lora-targets", "q_proj,v_proj,down_proj"))
        self.assertEqual(card["hyperparameters"]["lora"]["rank"], 4)
        self.assertGreater(card["metrics"]["accuracy"], 0.5)
        found = self.logits(self.place / "out")
        ids = self.place / "ids.jsonl"
        self.run_finch("tokenize", "--model", str(self.place / "out"), "--input", str(self.valid), "--text-column", "text", "--output", str(ids), "--quiet")
        model = Gemma3TextForSequenceClassification.from_pretrained(self.base, num_labels=5, dtype=torch.float32)
        model = PeftModel.from_pretrained(model, self.place / "out").eval()
        with torch.inference_mode():
            expected = np.concatenate([model(input_ids=torch.tensor([json.loads(line)["ids"]])).logits.numpy() for line in ids.read_text().splitlines()])
        self.assertLess(np.abs(found - expected).max(), 1e-4)

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
        for name in ("adapter_model.safetensors", "finch_adapter.json"):
            self.assertEqual((self.place / "whole" / name).read_bytes(), (self.place / "killed" / name).read_bytes(), name)

    def test_what_can_not_be_is_told(self):
        bert = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
        for more, code, words in ((("--lora-targets", "query"), 2, "query"), (("--quantize", "int8"), 2, "quantize"), (("--bf16",), 3, "--bf16"),
                                  (("--lora-rank", "0"), 2, "lora-rank")):
            self.assertIn(words, self.run_finch(*self.words("none", *more), code=code))
        given = [word for word in self.words("none") if word != "--lora"]
        self.assertIn("--lora", self.run_finch(*given, code=2))
        given = list(self.words("none"))
        given[given.index(str(self.base))] = bert
        self.assertIn("Gemma", self.run_finch(*given, code=3))
        self.assertFalse((self.place / "none").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
