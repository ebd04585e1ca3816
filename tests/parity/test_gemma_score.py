"""`finch score` with a Gemma 3 beside transformers: a classifier's folder, and the label words of the real 270M's GGUF file, whose
prompt's beginning is read once for all texts. The ids are finch's own (tests/parity/test_spm.py holds those).

    FINCH=build/finch python tests/parity/test_gemma_score.py
"""
import csv
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import gemma_models
import numpy as np
import reference
import test_logits
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextForSequenceClassification

torch.set_num_threads(1)
FINCH = test_logits.FINCH
N_TEXTS = 6
CLASSIFIER_MAX = 2e-5
WORDS_MAX = 1e-3


def ids_of(folder, texts):
    """By finch tokenize; each with what the tokenizer puts around it."""
    with tempfile.TemporaryDirectory(prefix="finch-ids-") as place:
        given, out = pathlib.Path(place) / "texts.jsonl", pathlib.Path(place) / "ids.jsonl"
        given.write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
        subprocess.run([str(FINCH), "tokenize", "--model", str(folder), "--input", str(given), "--output", str(out), "--quiet"], check=True)
        return [json.loads(line)["ids"] for line in out.read_text().splitlines()]


def constant(name):
    """A C string of gemma_model.c by its name."""
    source = (gemma_models.SOURCE / "src" / "model" / "gemma_model.c").read_text()
    body = re.search(rf"{name}(?:\[\w*\])? =\s*(.*?);\n", source, re.S).group(1)
    return [json.loads(f'"{part}"') for part in re.findall(r'"((?:\\.|[^"\\])*)"', body)]


class ScoreTest(unittest.TestCase):
    def test_classifier(self):
        with tempfile.TemporaryDirectory(prefix="finch-gemma-") as place:
            folder = pathlib.Path(place)
            gemma_models.random_model("Gemma3TextForSequenceClassification", folder, labels=5)
            words = "the stock market up down buy sell price call dividend $ a of to and in on at".split()
            (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words + list("bcdefgh")) + "\n")
            model = Gemma3TextForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
            texts = ["the stock market up", "buy a call", "sell", "price of the dividend down on the market at $ a b c d", "zzz", "the the"]
            found = test_logits.finch_logits(folder, texts)
            with torch.inference_mode():
                expected = np.concatenate([model(input_ids=torch.tensor([ids])).logits.numpy() for ids in ids_of(folder, texts)])
            self.assertLess(np.abs(found - expected).max() / np.abs(expected).max(), CLASSIFIER_MAX)

    def test_label_words(self):
        path = gemma_models.gguf_file()
        texts = [text for text in reference.bodies(40) if text.strip()][:N_TEXTS]
        before, after = "".join(constant("prompt_before")), "".join(constant("prompt_after"))
        words, nothing = constant("words_of"), constant("nothing")
        encoded = ids_of(path, [before, after] + words + nothing + texts)
        before, after, words = encoded[0], encoded[1][1:], [ids[1:] for ids in encoded[2:7]]
        self.assertTrue(all(len(ids) == 1 for ids in words))
        model = Gemma3ForCausalLM.from_pretrained(gemma_models.dequantised_folder(), dtype=torch.float32).eval()
        with torch.inference_mode():
            rows = [model(input_ids=torch.tensor([before + ids[1:] + after])).logits[0, -1, [w[0] for w in words]].numpy()
                    for ids in encoded[7:]]
        expected = np.stack(rows[len(nothing):]) - np.mean(rows[:len(nothing)], axis=0)
        found = test_logits.finch_logits(path, texts, "--threads", "2", "--compute", "f32")
        self.assertLess(np.abs(found - expected).max(), WORDS_MAX)
        self.assertEqual(found[:3].tobytes(), test_logits.finch_logits(path, texts[:3], "--threads", "4", "--compute", "f32").tobytes())

    def test_labels_are_the_five(self):
        with tempfile.TemporaryDirectory(prefix="finch-gemma-") as place:
            given, out = pathlib.Path(place) / "t.csv", pathlib.Path(place) / "o.csv"
            given.write_text("body\n$AAPL up\n")
            subprocess.run([str(FINCH), "score", "--model", str(gemma_models.gguf_file()), "--input", str(given), "--output", str(out), "--quiet"], check=True)
            with out.open(newline="") as lines:
                row = next(csv.DictReader(lines))
            names = [name for name in row if name.startswith("prob_")]
            self.assertEqual([name.lower() for name in names], ["prob_strongly_negative", "prob_negative", "prob_neutral", "prob_positive", "prob_strongly_positive"])
            self.assertAlmostEqual(sum(float(row[name]) for name in names), 1.0, places=5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
