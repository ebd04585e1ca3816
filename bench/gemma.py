"""LoRA on the real Gemma 3 270M, finch beside PEFT on PyTorch: examples a second and peak memory.

    python bench/gemma.py [--steps 10] [--rounds 3]

fintweets5/train.csv, batch 8, r = 8 on q_proj and v_proj, dropout 0.1, AdamW. finch's base is the GGUF file, PEFT's the same weights in f32
or bf16 (tests/parity/gemma_models.py makes both); the peer pads its batches, as PEFT has to. Loading is not counted. finch's figures are
those of its card: of training steps alone, and the process's peak; the peer's peak is its process's too.
"""
import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "parity"))
DATA = ROOT / "data" / "fintweets5"
LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")
BATCH, MAX_TOKENS = 8, 128


def rows(n):
    with (DATA / "train.csv").open(encoding="utf-8", newline="") as lines:
        return [(row["text"], row["label"]) for row in csv.DictReader(lines) if row["label"] in LABELS][:n]


def peer(steps, threads, kind):
    """Runs in a process of its own; prints one JSON object."""
    import resource
    import time

    import gemma_models
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer
    from transformers import Gemma3TextForSequenceClassification
    torch.set_num_threads(threads)
    tokenizer = Tokenizer.from_file(os.environ["BENCH_TOKENIZER"])
    model = Gemma3TextForSequenceClassification.from_pretrained(gemma_models.MODELS / "gemma-3-270m-f32", num_labels=5, dtype=getattr(torch, kind))
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.1, target_modules=["q_proj", "v_proj"]))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    texts, seconds = rows((steps + 1) * BATCH), 0.0
    model.train()
    for step in range(steps + 1):
        begin = time.perf_counter()
        batch = texts[step * BATCH:(step + 1) * BATCH]
        ids = [found.ids[:MAX_TOKENS] for found in tokenizer.encode_batch([text for text, _ in batch])]
        longest = max(map(len, ids))
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        loss = model(input_ids=ids, attention_mask=mask, labels=torch.tensor([LABELS.index(label) for _, label in batch])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step > 0:  # the first warms up
            seconds += time.perf_counter() - begin
    print(json.dumps({"examples_per_second": steps * BATCH / seconds,
                      "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def finch(steps, threads, place, turn):
    import gemma_models
    train, valid, out = place / "train.csv", place / "valid.csv", place / f"out{turn}"
    for path, some in ((train, rows(steps * BATCH)), (valid, rows(steps * BATCH + 8)[-8:])):
        with path.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows([("text", "label"), *some])
    command = [os.environ.get("FINCH", str(ROOT / "build" / "finch")), "train", "--lora", "--model", str(gemma_models.gguf_file()), "--train",
               str(train), "--valid", str(valid), "--output", str(out), "--batch", str(BATCH), "--max-tokens", str(MAX_TOKENS), "--epochs", "1",
               "--max-steps", str(steps), "--eval-every", "1000000", "--learning-rate", "1e-5", "--threads", str(threads), "--quiet", "--json"]
    card = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    os.environ["BENCH_TOKENIZER"] = str(out / "tokenizer.json")
    return {"examples_per_second": card["training"]["examples_per_second"], "peak_rss_bytes": card["peak_rss_bytes"]}


def middle(found, figure):
    return sorted(one[figure] for one in found)[len(found) // 2]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--peer", choices=("float32", "bfloat16"), help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.peer:
        return peer(args.steps, args.threads, args.peer)
    import gemma_models
    gemma_models.dequantised_folder()
    ours, theirs = [], {"float32": [], "bfloat16": []}
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        for turn in range(args.rounds):
            ours.append(finch(args.steps, args.threads, pathlib.Path(place), turn))
            for kind, found in theirs.items():
                done = subprocess.run([sys.executable, __file__, "--peer", kind, "--steps", str(args.steps), "--threads", str(args.threads)],
                                      check=True, capture_output=True, text=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
    for kind, found in theirs.items():
        speed = middle(ours, "examples_per_second") / middle(found, "examples_per_second")
        memory = middle(found, "peak_rss_bytes") / middle(ours, "peak_rss_bytes")
        print(f"LoRA, 270M, batch {BATCH}: {speed:.2f} times the examples a second of PEFT in {kind}, its peak memory {memory:.2f} times ours")
    print(json.dumps({"finch": ours, "peft": theirs}))
    return None


if __name__ == "__main__":
    main()
