"""Gemma 3 beside llama.cpp, a case at a time (LoRA beside PEFT is lora.py): each prints one JSON document and takes two or three minutes on two cores.

    python bench/gemma.py --case prompt-128|prompt-512|prefix|12b [--rounds 5] [--threads 2] [--save FILE]

prompt-N   the real 270M in Q8_0, a prompt of N random tokens read at once, with the logits behind the last: finch bench prompt beside llama.cpp on
           the same file. In rounds, by turns; ratios are taken inside a round.
prefix     tweets scored by label words behind one prompt: finch bench score (the prompt's beginning read once, packed batches) beside
           llama.cpp with one prompt at a time, and, printed too, with the beginning kept in its cache.
12b        a synthetic 12B in int8 (bench/make_12b.py, 13 GB in build/bench-models): scoring by label words, and LoRA steps at batch 1 x 64 tokens;
           tokens a second and peak memory of both. No peer fits beside it.

llama.cpp: bench/peers/make_llama.sh builds it for this machine (build/llama-native; --llama-python names another).
"""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import benchlib
import drive

ROOT = benchlib.ROOT
sys.path.insert(0, str(ROOT / "tests" / "parity"))
DATA = ROOT / "data" / "fintweets5"
LLAMA = ROOT / "bench" / "peers" / "llama_peer.py"
MEMORY_MOST = {"score": 16 << 30, "train": 20 << 30}
LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")


def rows(n):
    with (DATA / "train.csv").open(encoding="utf-8", newline="") as lines:
        return [(row["text"], row["label"]) for row in csv.DictReader(lines) if row["label"] in LABELS][:n]


def train_with_finch(model, steps, threads, place, texts):
    """The card of a few LoRA steps at batch 1 x 64 tokens."""
    train, valid, out = place / "train.csv", place / "valid.csv", place / "out"
    for path, some in ((train, texts[:steps]), (valid, texts[-8:])):
        with path.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows([("text", "label"), *some])
    return drive.finch(threads, "train", "--lora", "--model", model, "--train", train, "--valid", valid, "--output", out, "--batch", 1,
                       "--max-tokens", 64, "--epochs", 1, "--max-steps", steps, "--eval-every", 1000000, "--learning-rate", "1e-5", "--quiet")


# ---- beside llama.cpp -------------------------------------------------------------------------------------------------------------------------


def llama(args, *arguments):
    if not pathlib.Path(args.llama_python).is_file():
        raise SystemExit(f"no llama.cpp in {args.llama_python}; run: bench/peers/make_llama.sh")
    done = subprocess.run([str(args.llama_python), str(LLAMA), *map(str, arguments), "--threads", str(args.threads)], capture_output=True, text=True,
                          env=drive.pinned(args.threads))
    if done.returncode != 0:
        raise SystemExit(f"llama_peer.py ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def prompts(args, n_tokens):
    import gemma_models
    model, ours, theirs = gemma_models.q8_0_file(), [], []
    for _ in range(args.rounds):
        ours.append(drive.finch(args.threads, "bench", "prompt", "--model", model, "--max-tokens", n_tokens, "--runs", args.runs, "--steps", 8, "--quiet"))
        theirs.append(llama(args, "prompt", model, "--tokens", n_tokens, "--runs", args.runs))
    ratios = [a["prompt_tokens_per_second"] / b["prompt_tokens_per_second"] for a, b in zip(ours, theirs)]
    return {"finch": ours, "llama.cpp": theirs, "speed_ratio": benchlib.spread(ratios)}


def prefix(args):
    import gemma_models
    import test_gemma_score
    model, ours, alone, kept = gemma_models.q8_0_file(), [], [], []
    texts = [text for text, _ in rows(args.tweets)]
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        table, work = pathlib.Path(place) / "tweets.csv", pathlib.Path(place) / "work.json"
        with table.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows([("text",), *[(text,) for text in texts]])
        parts = {name: "".join(test_gemma_score.constant(f"prompt_{name}")) for name in ("before", "after")}
        work.write_text(json.dumps({**parts, "words": test_gemma_score.constant("words_of"), "texts": texts}))
        for _ in range(args.rounds):
            ours.append(drive.finch(args.threads, "bench", "score", "--model", model, "--input", table, "--text-column", "text", "--rows", len(texts),
                                    "--runs", args.runs, "--quiet"))
            alone.append(llama(args, "tweets", model, "--texts", work))
            kept.append(llama(args, "tweets", model, "--texts", work, "--keep-prefix"))
    def ratio(theirs):
        return benchlib.spread([a["texts_per_second"] / b["texts_per_second"] for a, b in zip(ours, theirs)])
    return {"finch": ours, "llama.cpp": alone, "llama.cpp, prefix kept": kept, "speed_ratio": ratio(alone), "speed_ratio_prefix_kept": ratio(kept)}


# ---- 12B --------------------------------------------------------------------------------------------------------------------------------------


def large(args):
    import make_12b
    model = make_12b.make()
    tweets = rows(6 * (args.steps + 8))  # six of them are past 64 tokens; none may be like another, or it would be kept out of training
    texts = [(" ".join(text for text, _ in tweets[6 * i:6 * i + 6]), LABELS[i % 5]) for i in range(args.steps + 8)]
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        table = pathlib.Path(place) / "tweets.csv"
        with table.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows([("text",), *[(text,) for text, _ in rows(8)]])
        score = drive.finch(args.threads, "score", "--model", model, "--input", table, "--text-column", "text", "--output", pathlib.Path(place) / "out.csv",
                            "--quiet")
        prompt = drive.finch(args.threads, "bench", "prompt", "--model", model, "--max-tokens", 128, "--runs", 1, "--steps", 1, "--quiet")
        card = train_with_finch(model, args.steps, args.threads, pathlib.Path(place), texts)
    peaks = {"score": max(score["peak_rss_bytes"], prompt["peak_rss_bytes"]), "train": card["peak_rss_bytes"]}
    return {"score": score, "prompt": prompt, "training": card["training"], "peak_rss_bytes": peaks, "peak_most_bytes": MEMORY_MOST,
            "holds": {name: peaks[name] <= most for name, most in MEMORY_MOST.items()},
            "tokens_per_second": {"score": prompt["prompt_tokens_per_second"], "train": card["training"]["examples_per_second"] * 64}}


CASES = {"prompt-128": lambda args: prompts(args, 128), "prompt-512": lambda args: prompts(args, 512), "prefix": prefix, "12b": large}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--case", choices=CASES, required=True)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--runs", type=int, default=5, help="prompt: passes in a round behind one that warms up; prefix: finch's (default 5)")
    options.add_argument("--steps", type=int, default=4, help="12b: optimiser steps (default 4)")
    options.add_argument("--tweets", type=int, default=24, help="prefix: how many (default 24: llama.cpp takes up to a second for each in every round)")
    options.add_argument("--llama-python", default=ROOT / "build" / "llama-native" / "bin" / "python")
    args = options.parse_args()
    benchlib.emit({"bench": "gemma", "case": args.case, "environment": benchlib.environment(args.threads), **CASES[args.case](args)}, args.save)


if __name__ == "__main__":
    main()
