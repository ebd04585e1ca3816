"""The peer that fine-tunes: a plain PyTorch loop as a user writes it, kept alive so that its rounds can alternate.

Reads one JSON command a line on stdin and answers each with one JSON line:
    {"do":"steps","count":40}  so many steps on: {"seconds","examples_per_second","tokens_per_second","loss"}
    {"do":"memory"}            {"peak_rss_bytes","rss_before_model_bytes"}

MiniLM with a five-class head, dropout on, AdamW (no decay on bias and norm), gradient clipping at 1.0, linear schedule,
batches in shuffled order padded to their longest row. Tokenisation is inside the clock, batch by batch, as a data
loader does it.
"""
import argparse
import csv
import itertools
import json
import os
import random
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")


def arguments():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True)
    options.add_argument("--data", required=True, help="CSV with text and label")
    options.add_argument("--threads", type=int, required=True)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--max-tokens", type=int, default=64)
    options.add_argument("--lr", type=float, default=2e-5)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--bf16", action="store_true", help="autocast to bf16 instead of f32 as installed")
    return options.parse_args()


ARGS = arguments()
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)
os.environ["RAYON_NUM_THREADS"] = str(ARGS.threads)
os.environ["TOKENIZERS_PARALLELISM"] = "true" if ARGS.threads > 1 else "false"

import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup  # noqa: E402


def rss_peak():
    """VmHWM and not getrusage: that one remembers the process which started this one, from before the exec."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def read_rows(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return [(row["text"], LABELS.index(row["label"])) for row in csv.DictReader(lines)]


def batches(rows, size, seed):
    """Whole batches of shuffled epochs without end."""
    for epoch in itertools.count():
        order = list(range(len(rows)))
        random.Random(seed + epoch).shuffle(order)
        for begin in range(0, len(order) - size + 1, size):
            yield [rows[at] for at in order[begin:begin + size]]


class Loop:
    def __init__(self, args):
        self.rss_before = rss_peak()
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        self.args = args
        self.tokenizer = Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(args.max_tokens)
        self.model = AutoModelForSequenceClassification.from_pretrained(args.model, dtype=torch.float32).train()
        plain = [p for name, p in self.model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
        held = {id(p) for p in plain}
        decayed = [p for p in self.model.parameters() if id(p) not in held]
        self.optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=args.lr)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, 50, 100_000)
        self.batches = batches(read_rows(args.data), args.batch, args.seed)

    def step(self):
        rows = next(self.batches)
        encoded = self.tokenizer.encode_batch([text for text, _ in rows])
        ids = torch.tensor([found.ids for found in encoded])
        mask = torch.tensor([found.attention_mask for found in encoded])
        labels = torch.tensor([label for _, label in rows])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.args.bf16):
            loss = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return loss.item(), int(mask.sum())

    def steps(self, count):
        tokens = 0
        began = time.perf_counter()
        for _ in range(count):
            loss, n_tokens = self.step()
            tokens += n_tokens
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "examples_per_second": count * self.args.batch / seconds, "tokens_per_second": tokens / seconds, "loss": loss}


def main():
    loop = Loop(ARGS)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "steps":
            found = loop.steps(command["count"])
        elif command["do"] == "memory":
            found = {"peak_rss_bytes": rss_peak(), "rss_before_model_bytes": loop.rss_before}
        else:
            raise SystemExit(f"train_peer: no command {command['do']!r}")
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
