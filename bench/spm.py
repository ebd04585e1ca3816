"""Gemma's BPE on one thread, finch beside Hugging Face tokenizers.

    python bench/spm.py [--peers-only]

All 96,826 tweets of the StockNet table with Gemma 3's real vocabulary, already in memory on both sides. The peer's
`encode_batch` with its parallelism off is what the ratio is to; its `encode_batch_fast` (no offsets) is printed beside. finch
begins each pass with an empty memory of words. Both sides must have produced the same number of tokens, else there is nothing to
compare.
"""
import sys

import benchlib
import drive
import make_models

GOAL = 10.0
MAX_TOKENS = 512


def reference():
    """(GGUF file, tokenizer.json that transformers makes of it): the parity test's."""
    here = benchlib.ROOT / "tests" / "parity"
    if str(here) not in sys.path:
        sys.path.append(str(here))
    import gemma_models
    import test_spm

    path = gemma_models.gguf_file()
    return path, test_spm.reference(path)[0]


def finch_side(model):
    return drive.finch(1, "bench", "tokenize", "--model", model, "--input", benchlib.STOCKNET, "--text-column", "body", "--max-tokens", MAX_TOKENS, "--runs", 1)


def main():
    options = benchlib.parser(__doc__)
    options.set_defaults(threads=1)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--peers-only", action="store_true")
    args = options.parse_args()
    if args.threads != 1:
        raise drive.Failed("this comparison is of one thread; leave --threads at 1")
    if not args.peers_only:
        drive.finch_binary()
    model, tokenizer = reference()
    ours, theirs, fast = [], [], []
    with drive.Peer("tokenize_peer.py", 1, "--tokenizer", tokenizer, "--texts", make_models.tweets(), "--max-tokens", MAX_TOKENS) as peer:
        peer.ask(do="pass")
        for turn in range(args.rounds):
            if not args.peers_only:
                ours.append(finch_side(model))
            theirs.append(peer.ask(do="pass"))
            fast.append(peer.ask(do="pass", fast=True))
            if ours and ours[-1]["tokens"] != theirs[-1]["tokens"]:
                raise drive.Failed(f"finch made {ours[-1]['tokens']} tokens, tokenizers {theirs[-1]['tokens']}: not the same work")
            benchlib.note(f"  round {turn + 1}: " + ", ".join(f"{name} {found[-1]['texts_per_second']:.0f}" for name, found in
                          (("finch", ours), ("encode_batch", theirs), ("encode_batch_fast", fast)) if found) + " tweets/s")
    result = {"what": "Gemma's BPE, one thread", "environment": benchlib.environment(1), "rows": theirs[0]["rows"], "tokens": theirs[0]["tokens"],
              "beside": {"encode_batch_fast": benchlib.spread([found["texts_per_second"] for found in fast])}}
    result["tokenizers"] = ({"peer": benchlib.spread([found["texts_per_second"] for found in theirs])} if args.peers_only else
                            drive.compare(args.rounds, ours, theirs, "texts_per_second", GOAL))
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
