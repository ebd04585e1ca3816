"""Fine-tuning MiniLM, finch beside a PyTorch loop: examples a second and peak memory.

    python bench/train.py [--peers-only]

fintweets5/train.csv, batch 16, up to 64 tokens, AdamW, dropout on, dynamic padding on the peer's side, tokenisation
included. The ratio is to PyTorch in f32 as installed; PyTorch with autocast to bf16 is printed beside. Speed is
compared for finch in f32, where the CPU has AMX in bf16x3 (f32's losses by three bf16 products), and in bf16; memory as well.
"""
import sys

import benchlib
import drive
import make_models

GOALS = {"examples_per_second": 4.0, "peak_rss_bytes": 2.0}
DATA = benchlib.ROOT / "data" / "fintweets5" / "train.csv"


def train_peer(args, folder, *more):
    return drive.Peer("train_peer.py", args.threads, "--model", folder, "--data", DATA, "--threads", args.threads,
                      "--batch", args.batch, "--max-tokens", args.max_tokens, *more)


def finch_side(args, folder, compute):
    return drive.finch(args.threads, "bench", "train", "--model", folder, "--input", DATA, "--text-column", "text", "--label-column", "label",
                       "--batch", args.batch, "--max-tokens", args.max_tokens, "--steps", args.steps, "--compute", compute)


def beside(args, folder):
    with train_peer(args, folder, "--bf16") as peer:
        peer.ask(do="steps", count=args.warm_up)
        return {"PyTorch, autocast to bf16": peer.ask(do="steps", count=args.steps)}


def compare(args, ours, theirs):
    if args.peers_only:
        return {figure: {"peer": benchlib.spread([found[figure] for found in theirs])} for figure in GOALS}
    return {"examples_per_second": drive.compare(args.rounds, ours, theirs, "examples_per_second", GOALS["examples_per_second"]),
            "peak_rss_bytes": drive.compare(args.rounds, ours, theirs, "peak_rss_bytes", GOALS["peak_rss_bytes"], higher_is_better=False)}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--steps", type=int, default=40, help="steps of a round")
    options.add_argument("--warm-up", type=int, default=10)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--max-tokens", type=int, default=64)
    options.add_argument("--peers-only", action="store_true")
    args = options.parse_args()
    if not args.peers_only:
        drive.finch_binary()
    folder, _ = make_models.ensure("minilm")
    environment = benchlib.environment(args.threads)
    computes = ("f32", "bf16x3", "bf16") if "amx_bf16" in environment["cpu"]["features"] else ("f32", "bf16")
    ours, theirs = {compute: [] for compute in computes}, []
    with train_peer(args, folder) as peer:
        peer.ask(do="steps", count=args.warm_up)
        for turn in range(args.rounds):
            if not args.peers_only:
                for compute, found in ours.items():
                    found.append(finch_side(args, folder, compute))
            theirs.append({**peer.ask(do="steps", count=args.steps), **peer.ask(do="memory")})
            benchlib.note(f"  round {turn + 1}: " + ", ".join(f"{name} {found[-1]['examples_per_second']:.1f}" for name, found in
                          (*ours.items(), ("PyTorch", theirs)) if found) + " examples/s")
    result = {"what": "fine-tuning MiniLM", "environment": environment, "batch": args.batch, "max_tokens": args.max_tokens,
              "steps": args.steps, "pytorch": {compute: compare(args, found, theirs) for compute, found in ours.items()},
              "beside": beside(args, folder)}
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
