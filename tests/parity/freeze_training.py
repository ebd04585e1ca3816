"""Freezes what PyTorch computes when it trains the tiny models: losses, gradients, a curve of 50 steps.

    python tests/parity/freeze_training.py            writes tests/fixtures/training/

For each case (BERT and MPNet; classifier and masked LM) `training.json` holds the batches, the first loss, three
projections of every parameter's gradient (sum of g[i] * sin(0.7 * (k + 1) * i + 0.3), in double) and its norm, the loss of
every step of a short training (torch.optim.AdamW, clip_grad_norm_ 1.0, no dropout) and the same projections of the final
parameters. The masked LMs are made here too; the classifiers are those of tests/fixtures/models.
"""
import json
import os
import pathlib
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification  # noqa: E402

import make_models  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "fixtures" / "training"
STEPS = 50
LR = 5e-4
N_BATCHES = 5
IGNORED = -100


def projections(tensor):
    flat = tensor.detach().double().flatten().numpy()
    at = np.arange(flat.size, dtype=np.float64)
    return [float((flat * np.sin(0.7 * (k + 1) * at + 0.3)).sum()) for k in range(3)] + [float(np.sqrt((flat * flat).sum()))]


def batches(model, mlm, rng):
    first = 5 if model.config.model_type == "bert" else 7
    made = []
    for _ in range(N_BATCHES):
        lengths = rng.integers(3, 40, size=6).tolist()
        ids = [rng.integers(first, 2000, size=n).tolist() for n in lengths]
        batch = {"ids": ids}
        if mlm:
            total = sum(lengths)
            positions = sorted(rng.choice(total, size=max(2, total // 6), replace=False).tolist())
            batch["positions"] = positions
            batch["targets"] = rng.integers(first, 2000, size=len(positions)).tolist()
        else:
            batch["labels"] = rng.integers(0, model.config.num_labels, size=len(ids)).tolist()
        made.append(batch)
    return made


def padded(model, batch, mlm):
    longest = max(map(len, batch["ids"]))
    ids = torch.full((len(batch["ids"]), longest), model.config.pad_token_id)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    flat = {}
    if mlm:
        flat = dict(zip(batch["positions"], batch["targets"]))
    at = 0
    for row, tokens in enumerate(batch["ids"]):
        ids[row, :len(tokens)] = torch.tensor(tokens)
        mask[row, :len(tokens)] = 1
        for place in range(len(tokens)):
            labels[row, place] = flat.get(at, IGNORED)
            at += 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels if mlm else torch.tensor(batch["labels"])}


def train(model, mlm, seed):
    model.eval()  # no dropout
    made = batches(model, mlm, np.random.default_rng(seed))
    case = {"batches": made, "lr": LR, "curve": []}
    decayed = [p for n, p in model.named_parameters() if not n.endswith("bias") and "LayerNorm" not in n and "layer_norm" not in n]
    kept = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in kept]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=LR)
    for step in range(STEPS):
        loss = model(**padded(model, made[step % N_BATCHES], mlm)).loss
        loss.backward()
        if step == 0:
            case["loss"] = float(loss)
            case["gradients"] = {n: projections(p.grad) for n, p in model.named_parameters() if p.grad is not None}
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        case["curve"].append(float(loss))
    case["parameters"] = {n: projections(p) for n, p in model.named_parameters()}
    return case


def make_mlm(name):
    source = ROOT / "fixtures" / "models" / name
    out = OUT / (name + "-mlm")
    torch.manual_seed(make_models.SEED)
    model = AutoModelForMaskedLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.startswith(("cls.", "lm_head.")):
                base = 1.0 if key.endswith(("LayerNorm.weight", "layer_norm.weight")) else 0.0
                parameter.normal_(base, 0.1)
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    shutil.copyfile(source / "vocab.txt", out / "vocab.txt")
    shutil.copyfile(source / "tokenizer_config.json", out / "tokenizer_config.json")
    return model


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    cases = {}
    for seed, name in enumerate(("tiny-bert", "tiny-mpnet"), 1):
        model = AutoModelForSequenceClassification.from_pretrained(ROOT / "fixtures" / "models" / name, dtype=torch.float32)
        cases[name] = train(model, False, seed)
        cases[name + "-mlm"] = train(make_mlm(name), True, seed + 10)
    frozen = {"torch": torch.__version__, "transformers": transformers.__version__, "cases": cases}
    (OUT / "training.json").write_text(json.dumps(frozen) + "\n", encoding="utf-8")
    print(f"{OUT}: {', '.join(cases)}", file=sys.stderr)


if __name__ == "__main__":
    main()
