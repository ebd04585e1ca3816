"""50 steps of the real MiniLM: `finch train` beside PyTorch with the same base and head, batches and rate, no dropout.

    FINCH=build/finch python tests/parity/test_training_curve.py

PyTorch pads each batch to its longest, uses torch.optim.AdamW (no decay on biases and norms) and clip_grad_norm_ 1.0.
The losses must agree within 1e-4 at every step. Gradients of every parameter, MPNet and the masked-LM head are held on tiny
models by tests/model/test_trainable_curve.c.
"""
import csv
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402

import make_models  # noqa: E402

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
FINCH = pathlib.Path(os.environ.get("FINCH", SOURCE / "build" / "finch"))
STEPS, BATCH, MAX_TOKENS, RATE = 50, 16, 64, 2e-5
AMX = "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
CURVE_MAX_ABS = 1e-4  # the project's promise; losses are about 1.6


def rows_of(name, count):
    with (SOURCE / "data" / "fintweets5" / name).open(encoding="utf-8", newline="") as lines:
        return [row for _, row in zip(range(count), csv.DictReader(lines))]


def write_rows(path, rows):
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, ["text", "label"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def finch_losses(model, rows, valid, place, *more):
    place.mkdir()
    write_rows(place / "train.csv", rows)
    write_rows(place / "valid.csv", valid)
    command = [FINCH, "train", "--model", model, "--train", place / "train.csv", "--valid", place / "valid.csv", "--output", place / "out",
               "--dropout", 0, "--order", "sequential", "--schedule", "constant", "--warmup", 0, "--learning-rate", RATE, "--batch", BATCH,
               "--max-tokens", MAX_TOKENS, "--epochs", 1, "--eval-every", 1000, "--log-every", 1, "--quiet", *more]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"finch train ended with {done.returncode}: {done.stderr[-2000:]}")
    events = [json.loads(line) for line in (place / "out" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [event["loss"] for event in events if event["event"] == "train"]


def torch_losses(folder, rows):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()  # eval: no dropout
    plain = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    known = {id(p) for p in plain}
    decayed = [p for p in model.parameters() if id(p) not in known]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=RATE)
    losses = []
    for begin in range(0, len(rows), BATCH):
        batch = rows[begin:begin + BATCH]
        encoded = [tokenizer.encode(row["text"]).ids for row in batch]
        longest = max(map(len, encoded))
        ids = torch.tensor([found + [0] * (longest - len(found)) for found in encoded])
        mask = torch.tensor([[1] * len(found) + [0] * (longest - len(found)) for found in encoded])
        labels = torch.tensor([make_models.LABELS.index(row["label"]) for row in batch])
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


class Curve(unittest.TestCase):
    def test_the_losses_of_fifty_steps_are_those_of_pytorch(self):
        folder = make_models.ensure("minilm", SOURCE / "build" / "models")
        rows, valid = rows_of("train.csv", STEPS * BATCH), rows_of("valid.csv", 32)
        with tempfile.TemporaryDirectory(prefix="finch-curve-") as place:
            curves = {"f32": finch_losses(folder, rows, valid, pathlib.Path(place) / "f32")}
            if AMX:
                curves["bf16x3"] = finch_losses(folder, rows, valid, pathlib.Path(place) / "bf16x3", "--bf16x3")
            else:
                print("bf16x3: not run, without AMX it is f32 itself")
        theirs = torch_losses(folder, rows)
        for compute, ours in curves.items():
            with self.subTest(compute):
                self.compare(compute, ours, theirs)

    def compare(self, compute, ours, theirs):
        self.assertEqual((STEPS, STEPS), (len(ours), len(theirs)))
        apart = [abs(a - b) for a, b in zip(ours, theirs)]
        worst = max(range(STEPS), key=apart.__getitem__)
        print(f"{compute}: losses {theirs[0]:.4f} to {theirs[-1]:.4f}, at most {apart[worst]:.1e} apart (step {worst + 1})")
        self.assertLess(apart[worst], CURVE_MAX_ABS)
        self.assertLess(sum(theirs[-10:]), sum(theirs[:10]))  # it did learn: equal losses of a model that stands still show little


if __name__ == "__main__":
    unittest.main()
