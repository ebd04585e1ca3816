"""A Gemma 3 of which all weights learn, held against transformers and PyTorch: 30 steps without dropout follow its losses, what is saved opens
there with the same logits, and checkpointed activations and threads change no bit.

    FINCH_SOURCE=. python tests/parity/test_gemma_whole.py
"""
import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import gemma_models
import numpy as np
import test_gemma
import torch
from lora_peft import BATCH, DRIVER, STEPS, finch, logits_of, loss_of, peft_train
from safetensors.torch import load_file
from test_lora import make_texts
from transformers import Gemma3TextForSequenceClassification

torch.set_num_threads(1)
LOSS_MAX = 1e-4  # after 30 steps; seen 1e-5
LOGITS_MAX = 1e-4
GRADIENT_MAX = 1e-4  # relative to the largest of its tensor; seen 1e-5
WEIGHTS_MAX = 1e-3  # of a weight after 30 steps of AdamW, which makes steps of the same size of however small gradients


class WholeTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="finch-whole-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)
        self.base = self.make("base")

    def make(self, name, **more):
        folder = self.place / name
        gemma_models.random_model("Gemma3TextForSequenceClassification", folder, labels=5, **more)
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]) + "\n")
        return folder

    def train(self, name="out", base=None, steps=STEPS, rate=1e-3, checkpointed=False, extra=(), texts=None):
        return finch(base or self.base, steps, rate, "whole", self.place / name, texts or make_texts(40), checkpointed, extra)

    def open(self, folder):
        return Gemma3TextForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")

    def test_thirty_steps_follow_pytorch(self):
        texts = make_texts(40)
        losses, logits = self.train(texts=texts)
        model = self.open(self.place / "out" / "start")
        expected = peft_train(model.train(), texts, STEPS, 1e-3)
        self.assertLess(expected[-1], expected[0], "nothing was learnt: this test would see no gradient")
        self.assertLess(np.abs(losses - expected).max(), LOSS_MAX)
        self.assertLess(np.abs(logits - logits_of(model.eval(), texts)).max(), 20 * LOSS_MAX)
        ours = load_file(self.place / "out" / "end" / "model.safetensors")
        for name, value in model.state_dict().items():
            self.assertLess((ours[name] - value).abs().max().item(), WEIGHTS_MAX, name)

    def test_every_gradient_is_pytorchs(self):
        texts = make_texts(BATCH)
        self.train(steps=0, texts=texts)
        ours = load_file(self.place / "out" / "gradients.safetensors")
        model = self.open(self.place / "out" / "start").train()
        loss_of(model, texts).backward()
        expected = {name: value.grad for name, value in model.named_parameters()}
        self.assertEqual(set(ours), set(expected))
        for name, grad in expected.items():
            largest = grad.abs().max().item()
            self.assertGreater(largest, 1e-6, f"{name} has no gradient: this test would see none")
            self.assertLess((ours[name].reshape(grad.shape) - grad).abs().max().item() / largest, GRADIENT_MAX, name)

    def test_what_is_saved_opens_in_transformers_and_finch(self):
        texts = make_texts(12)
        _, logits = self.train(steps=4, texts=texts)
        folder = self.place / "out" / "end"
        config = json.loads((folder / "config.json").read_text())
        self.assertEqual((config["architectures"], config["model_type"], config["dtype"]), (["Gemma3TextForSequenceClassification"], "gemma3_text", "float32"))
        self.assertEqual(len(config["id2label"]), 5)
        self.assertLess(np.abs(logits - logits_of(self.open(folder).eval(), texts)).max(), LOGITS_MAX)
        found = test_gemma.driver(folder, "f32", "classes", [ids for _, ids in texts])
        self.assertLess(np.abs(found - logits).max(), LOGITS_MAX)

    def test_threads_and_checkpointed_activations_change_no_bit(self):
        texts = make_texts(40)
        for extra in ((), ("bf16",)):
            first = self.train(f"one{len(extra)}", steps=6, extra=extra, texts=texts)
            for threads, checkpointed in (("1", True), ("3", False)):
                with mock.patch.dict(os.environ, OMP_NUM_THREADS=threads):
                    again = self.train("again", steps=6, checkpointed=checkpointed, extra=extra, texts=texts)
                for a, b in zip(first, again):
                    self.assertEqual(a.tobytes(), b.tobytes(), (extra, threads, checkpointed))

    def test_bf16_products_learn_as_f32_ones(self):
        losses, _ = self.train()
        rounded, _ = self.train("rounded", extra=("bf16",))
        self.assertGreater(np.abs(losses - rounded).max(), 0)
        self.assertLess(np.abs(losses - rounded).max(), 0.05)


if __name__ == "__main__":
    if not DRIVER.is_file():
        sys.exit(f"no {DRIVER}; run: make build")
    unittest.main(verbosity=2)
