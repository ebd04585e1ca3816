"""One thread of tokenizing, finch beside Hugging Face tokenizers: what wordpiece.py and spm.py share.

All 96,826 tweets of the StockNet table, already in memory on both sides. The peer's `encode_batch` with its parallelism
off is what the ratio is to; its `encode_batch_fast` (no offsets) is printed beside. Both sides must have produced the
same number of tokens, else there is nothing to compare.
"""
import benchlib
import drive
import make_models


def finch_side(model, max_tokens):
    return drive.finch(1, "bench", "tokenize", "--model", model, "--input", benchlib.STOCKNET, "--text-column", "body", "--max-tokens", max_tokens, "--runs", 1)


def run(doc, what, models, max_tokens, goal):
    """models() gives the model that finch opens and the tokenizer.json that the peer does."""
    options = benchlib.parser(doc)
    options.set_defaults(threads=1)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--peers-only", action="store_true")
    args = options.parse_args()
    if args.threads != 1:
        raise drive.Failed("this comparison is of one thread; leave --threads at 1")
    if not args.peers_only:
        drive.finch_binary()
    model, tokenizer = models()
    ours, theirs, fast = [], [], []
    with drive.Peer("tokenize_peer.py", 1, "--tokenizer", tokenizer, "--texts", make_models.tweets(), "--max-tokens", max_tokens) as peer:
        peer.ask(do="pass")
        for turn in range(args.rounds):
            if not args.peers_only:
                ours.append(finch_side(model, max_tokens))
            theirs.append(peer.ask(do="pass"))
            fast.append(peer.ask(do="pass", fast=True))
            if ours and ours[-1]["tokens"] != theirs[-1]["tokens"]:
                raise drive.Failed(f"finch made {ours[-1]['tokens']} tokens, tokenizers {theirs[-1]['tokens']}: not the same work")
            benchlib.note(f"  round {turn + 1}: " + ", ".join(f"{name} {found[-1]['texts_per_second']:.0f}" for name, found in
                          (("finch", ours), ("encode_batch", theirs), ("encode_batch_fast", fast)) if found) + " tweets/s")
    result = {"what": what, "environment": benchlib.environment(1), "rows": theirs[0]["rows"], "tokens": theirs[0]["tokens"],
              "beside": {"encode_batch_fast": benchlib.spread([found["texts_per_second"] for found in fast])}}
    result["tokenizers"] = ({"peer": benchlib.spread([found["texts_per_second"] for found in theirs])} if args.peers_only else
                            drive.compare(args.rounds, ours, theirs, "texts_per_second", goal))
    benchlib.emit(result, args.save)
