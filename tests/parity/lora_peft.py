"""What the parity tests of adapters share: finch's own training of a few steps, and PEFT's beside it."""
import os
import pathlib
import subprocess

import numpy as np
import torch

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
PROGRAM = os.environ.get("FINCH", str(SOURCE / "build" / "finch"))
DRIVER = pathlib.Path(PROGRAM).parent / "parity_lora_run"
BATCH, STEPS = 8, 30
LOSS_MAX = 1e-3    # after 30 steps; seen 1e-5
LOGITS_MAX = 1e-4


def finch(folder, steps, rate, targets, out, texts, checkpointed=False, extra=()):
    """Losses of the steps, and the logits of all texts behind them; out/start and out/end are the adapters."""
    command = [str(DRIVER), str(folder), str(steps), str(rate), targets, str(int(checkpointed)), str(out), *extra]
    lines = "".join(f"{label} {' '.join(map(str, ids))}\n" for label, ids in texts)
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    lines = done.stdout.splitlines()
    return np.array([float(line) for line in lines[:steps]]), np.array([[float(x) for x in line.split()] for line in lines[steps:]])


def logits_of(model, texts):
    with torch.inference_mode():
        return np.concatenate([model(input_ids=torch.tensor([ids])).logits.numpy() for _, ids in texts])


def loss_of(model, batch):
    longest = max(len(ids) for _, ids in batch)
    ids = torch.tensor([row + [model.config.pad_token_id] * (longest - len(row)) for _, row in batch])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for _, row in batch])
    return torch.nn.functional.cross_entropy(model(input_ids=ids, attention_mask=mask).logits, torch.tensor([label for label, _ in batch]))


def peft_train(model, texts, steps, rate):
    """Losses, in the mode that the model is in; batches padded, as PEFT has to, and no decay on biases and norms, as finch and transformers'
    trainer have it."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [{"params": [p for name, p in named if p.ndim > 1], "weight_decay": 0.01},
              {"params": [p for name, p in named if p.ndim == 1], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    for step in range(steps):
        first = step * BATCH % (len(texts) - BATCH + 1)
        loss = loss_of(model, texts[first:first + BATCH])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimiser.step()
        losses.append(loss.item())
    return np.array(losses)
