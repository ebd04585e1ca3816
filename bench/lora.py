"""LoRA beside PEFT on PyTorch, and all weights of a Gemma beside PyTorch: examples a second of training steps, and peak memory.

    python bench/lora.py [--cases gemma gemma-full minilm] [--steps N] [--rounds 2] [--save FILE]

gemma       the real Gemma 3 270M, r = 8 on q_proj and v_proj. finch's base is the GGUF file, PEFT's the same weights in f32 or bf16
            (tests/parity/gemma_models.py makes both). 3 steps a round.
gemma-full  the same model, all of whose weights learn; the peer in bf16 has weights and moments in it too, finch f32 ones. 3 steps a round.
minilm      all-MiniLM-L6-v2, r = 8 on query and value, both in f32. 20 steps a round.

About five minutes on two cores. fintweets5/train.csv in its order, batch 8, adapters' dropout 0.1, AdamW, clipping at 1. The peer pads its batches, as PEFT has to, and its first step
is not counted; finch's figures are those of its card: training steps alone, all of them. Loading is counted on neither side; peak memory is
the whole process's, on both. A round is finch, then each peer; ratios are taken inside a round.
"""
import csv
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import benchlib

benchlib.offline()
sys.path.insert(0, str(benchlib.ROOT / "tests" / "parity"))
DATA = benchlib.ROOT / "data" / "fintweets5"
BATCH, MAX_TOKENS = 8, 128
TARGETS = {"gemma": ["q_proj", "v_proj"], "gemma-full": None, "minilm": ["query", "value"]}
STEPS = {"gemma": 3, "gemma-full": 3, "minilm": 20}
PEERS = ("float32", "bfloat16")
ASKED = {"float32": 2.0, "bfloat16": 1.3}  # of adapters


def rows(n):
    with (DATA / "train.csv").open(encoding="utf-8", newline="") as lines:
        found = [(row["text"], row["label"]) for row in csv.DictReader(lines) if row["label"] in benchlib.LABELS]
    if len(found) < n:
        raise SystemExit(f"{DATA / 'train.csv'} has {len(found)} labelled rows, {n} are needed")
    return found[:n]


def base_of(case):
    """(finch's base, the peer's base)"""
    if case == "minilm":
        return benchlib.base_model(), benchlib.base_model()
    import gemma_models
    return gemma_models.gguf_file(), gemma_models.dequantised_folder()


def open_peer(case, kind):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, Gemma3TextForSequenceClassification
    maker = AutoModelForSequenceClassification if case == "minilm" else Gemma3TextForSequenceClassification
    model = maker.from_pretrained(base_of(case)[1], num_labels=len(benchlib.LABELS), dtype=getattr(torch, kind))
    return model if TARGETS[case] is None else get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.1, target_modules=TARGETS[case]))


def peer(case, kind, steps, threads, tokenizer_file):
    """Runs in a process of its own; prints one JSON object."""
    import torch
    from tokenizers import Tokenizer
    torch.set_num_threads(threads)
    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.no_padding()
    model = open_peer(case, kind)
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=1e-5)
    texts, seconds = rows((steps + 1) * BATCH), 0.0
    model.train()
    for step in range(steps + 1):
        begin = time.perf_counter()
        batch = texts[step * BATCH:(step + 1) * BATCH]
        ids = [found.ids[:MAX_TOKENS] for found in tokenizer.encode_batch([text for text, _ in batch])]
        longest = max(map(len, ids))
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        truth = torch.tensor([benchlib.LABELS.index(label) for _, label in batch])
        loss = torch.nn.functional.cross_entropy(model(input_ids=ids, attention_mask=mask).logits.float(), truth)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step > 0:
            seconds += time.perf_counter() - begin
    print(json.dumps({"examples_per_second": steps * BATCH / seconds, "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def run_peer(case, kind, steps, threads, tokenizer_file):
    words = [sys.executable, __file__, "--peer", case, kind, str(steps), str(threads), str(tokenizer_file)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_finch(case, steps, threads, place, bf16):
    out = place / f"out{len(list(place.iterdir()))}"
    train, valid = place / "train.csv", place / "valid.csv"
    for path, some in ((train, rows(steps * BATCH)), (valid, rows(steps * BATCH + 8)[-8:])):
        with path.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows([("text", "label"), *some])
    words = [os.environ.get("FINCH", str(benchlib.ROOT / "build" / "finch")), "train", "--model", base_of(case)[0], "--train", train,
             "--valid", valid, "--output", out, "--batch", BATCH, "--max-tokens", MAX_TOKENS, "--epochs", 1, "--max-steps", steps, "--eval-every",
             1000000, "--order", "sequential", "--learning-rate", "1e-5", "--threads", threads, "--quiet", "--json"]
    words += (["--bf16"] if bf16 else []) + (["--lora"] if TARGETS[case] else [])
    card = json.loads(subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout)
    return {"examples_per_second": card["training"]["examples_per_second"], "peak_rss_bytes": card["peak_rss_bytes"], "steps": card["training"]["steps"]}, out


def ratios(ours, theirs):
    pairs = list(zip(ours, theirs))
    return {"speed": benchlib.spread([a["examples_per_second"] / b["examples_per_second"] for a, b in pairs]),
            "memory": benchlib.spread([b["peak_rss_bytes"] / a["peak_rss_bytes"] for a, b in pairs])}


def measure(case, steps, rounds, threads):
    found = {"finch f32": [], "finch bf16": [], **{f"pytorch {kind}": [] for kind in PEERS}}
    with tempfile.TemporaryDirectory(prefix="finch-bench-lora-") as name:
        place = pathlib.Path(name)
        for _ in range(rounds):
            for kind in ("f32", "bf16"):
                figures, out = run_finch(case, steps, threads, place, kind == "bf16")
                found[f"finch {kind}"].append(figures)
            for kind in PEERS:
                found[f"pytorch {kind}"].append(run_peer(case, kind, steps, threads, out / "tokenizer.json"))
            benchlib.note(f"{case}: {json.dumps({name: rows[-1] for name, rows in found.items()})}")
    best = max(("finch f32", "finch bf16"), key=lambda name: sum(one["examples_per_second"] for one in found[name]))
    return {"steps": steps, "batch": BATCH, "runs": found, "finch_best": best,
            "against": {kind: {**({"asked_speed": ASKED[kind], "asked_memory": 2.0} if TARGETS[case] else {}), "f32": ratios(found["finch f32"], found[f"pytorch {kind}"]),
                               "best": ratios(found[best], found[f"pytorch {kind}"])} for kind in PEERS}}


def main():
    if sys.argv[1:2] == ["--peer"]:
        case, kind, steps, threads, tokenizer_file = sys.argv[2:]
        return peer(case, kind, int(steps), int(threads), tokenizer_file)
    options = benchlib.parser(__doc__)
    options.add_argument("--cases", nargs="+", choices=sorted(STEPS), default=sorted(STEPS))
    options.add_argument("--steps", type=int, help="steps a round, in place of each case's own")
    options.add_argument("--rounds", type=int, default=2)
    args = options.parse_args()
    result = {"bench": "lora", "environment": benchlib.environment(args.threads), "cases": {}}
    for case in args.cases:
        result["cases"][case] = measure(case, args.steps or STEPS[case], args.rounds, args.threads)
        for kind, against in result["cases"][case]["against"].items():
            asked = f"; asked {ASKED[kind]} and 2" if TARGETS[case] else ""
            benchlib.note(f"{case} beside PyTorch in {kind}: {against['best']['speed']['median']:.2f} times the examples/s, its peak memory "
                          f"{against['best']['memory']['median']:.2f} times ours ({result['cases'][case]['finch_best']}{asked})")
    benchlib.emit(result, args.save)
    return None


if __name__ == "__main__":
    main()
