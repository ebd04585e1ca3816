"""Adapters beside a frozen Gemma 3, held against PEFT: 30 steps without dropout follow its loss, the gradients of every kind of
layer are its, and what finch saves gives the same logits in PEFT.

    FINCH_SOURCE=. python tests/parity/test_lora.py
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import gemma_models
import numpy as np
import torch
from peft import PeftModel
from transformers import Gemma3TextForSequenceClassification

torch.set_num_threads(1)
DRIVER = pathlib.Path(os.environ.get("FINCH", gemma_models.SOURCE / "build" / "finch")).parent / "parity_lora_run"
ALL = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
BATCH, STEPS = 8, 30
LOSS_MAX = 1e-3    # after 30 steps; seen 1e-5
LOGITS_MAX = 1e-4


def make_texts(n, vocabulary=60, longest=30, seed=2):
    """Five classes that the first words decide, so that there is something to learn."""
    draw = np.random.default_rng(seed)
    texts = []
    for _ in range(n):
        label = int(draw.integers(0, 5))
        ids = draw.integers(10, vocabulary, draw.integers(1, longest)).tolist()
        texts.append((label, [3 + label] + ids))
    return texts


def finch(folder, steps, rate, targets, checkpointed, out, texts):
    command = [str(DRIVER), str(folder), str(steps), str(rate), targets, str(int(checkpointed)), str(out)]
    lines = "".join(f"{label} {' '.join(map(str, ids))}\n" for label, ids in texts)
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    lines = done.stdout.splitlines()
    return np.array([float(line) for line in lines[:steps]]), np.array([[float(x) for x in line.split()] for line in lines[steps:]])


def logits_of(model, texts):
    with torch.inference_mode():
        return np.concatenate([model(input_ids=torch.tensor([ids])).logits.numpy() for _, ids in texts])


def peft_train(model, texts, steps, rate):
    """Losses; batches padded, as PEFT has to."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    model.train()
    for step in range(steps):
        first = step * BATCH % (len(texts) - BATCH + 1)
        batch = texts[first:first + BATCH]
        longest = max(len(ids) for _, ids in batch)
        ids = torch.tensor([row + [0] * (longest - len(row)) for _, row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for _, row in batch])
        found = model(input_ids=ids, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(found, torch.tensor([label for label, _ in batch]))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        losses.append(loss.item())
    return np.array(losses)


class LoraTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="finch-lora-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)
        self.base = self.place / "base"
        gemma_models.random_model("Gemma3TextForSequenceClassification", self.base, labels=5)
        (self.base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]) + "\n")

    def open_peft(self, name, trainable=False):
        model = Gemma3TextForSequenceClassification.from_pretrained(self.base, num_labels=5, dtype=torch.float32,
                                                                    attn_implementation="eager")
        return PeftModel.from_pretrained(model, self.place / name, is_trainable=trainable)

    def follow(self, targets, steps=STEPS, rate=2e-3):
        texts = make_texts(40)
        losses, logits = finch(self.base, steps, rate, targets, False, self.place / "out", texts)
        model = self.open_peft("out/start", trainable=True)
        expected = peft_train(model, texts, steps, rate)
        if steps == STEPS:
            self.assertLess(expected[-1], expected[0], "nothing was learnt: this test would see no gradient")
        self.assertLess(np.abs(losses - expected).max(), LOSS_MAX)
        model.eval()
        self.assertLess(np.abs(logits - logits_of(model, texts)).max(), 20 * LOSS_MAX)
        self.assertLess(np.abs(logits - logits_of(self.open_peft("out/end").eval(), texts)).max(), LOGITS_MAX)
        return losses, logits

    def test_queries_and_values(self):
        self.follow("q_proj,v_proj")

    def test_every_linear_layer_and_checkpointed_activations(self):
        losses, logits = self.follow(ALL)
        again, same = finch(self.base, STEPS, 2e-3, ALL, True, self.place / "checkpointed", make_texts(40))
        self.assertEqual(losses.tobytes(), again.tobytes())
        self.assertEqual(logits.tobytes(), same.tobytes())

    def test_one_kind_of_layer_at_a_time(self):
        for name in ALL.split(","):
            with self.subTest(name):
                self.follow(name, steps=6)


if __name__ == "__main__":
    if not DRIVER.is_file():
        sys.exit(f"no {DRIVER}; run: make build")
    unittest.main(verbosity=2)
