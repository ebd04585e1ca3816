"""Bulk scoring and single tweets, finch beside ONNX Runtime and PyTorch.

    python bench/score.py [--cases minilm-int8 minilm-float bert-base-int8 one-tweet memory] [--peers-only]

The same first tweets of the StockNet table on both sides, tokenisation included, sorted by length on the peers' side,
the peers at the best of several batch sizes (8, 16 and 32), threads pinned to the same number.
"""
import contextlib
import csv
import pathlib
import shutil
import sys
import tempfile

import benchlib
import drive
import make_models

BATCHES = (8, 16, 32)
GOALS = {"minilm-int8": 2.0, "minilm-float/onnxruntime": 1.8, "minilm-float/pytorch": 3.0, "bert-base-int8": 1.6, "one-tweet": 1.5, "memory": 2.0}
FLOATS = ("f32", "bf16x3", "bf16")  # finch's float modes
FLOAT_MAX_ABS = 1e-2
FLOAT_LABELS_AGREE = 0.999
# What PyTorch gains from settings that no one has by default: big blocks kept by the allocator, and a compiled graph.
BETTER_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_TOP_PAD_": "268435456"}


def score_peer(args, runtime, model, tokenizer, rows, *more, environment=None):
    return drive.Peer("score_peer.py", args.threads, "--runtime", runtime, "--model", model, "--tokenizer", tokenizer / "tokenizer.json",
                      "--texts", make_models.tweets(rows), "--rows", rows, "--threads", args.threads, *more, environment=environment)


def finch_int8(folder):
    """What finch scores in int8: the same weights through `finch quantize`, as the peer loads a quantised file. Made anew each
    time, since the format is the program's."""
    target = folder.with_name(folder.name + "-finch-int8")
    shutil.rmtree(target, ignore_errors=True)
    drive.finch(None, "quantize", "--model", folder, "--output", target)
    return target


def finch_score(args, model, compute, rows):
    return drive.finch(args.threads, "bench", "score", "--model", model, "--input", benchlib.STOCKNET, "--text-column", "body",
                       "--rows", rows, "--compute", compute, "--runs", 1)


def in_turns(args, peers, finch_sides):
    """Rounds of every finch side and every peer. peers: name -> (peer, batch). Returns name -> list of documents for each."""
    ours = {name: [] for name in finch_sides}
    theirs = {name: [] for name in peers}
    for turn in range(args.rounds):
        for name, run in finch_sides.items():
            if not args.peers_only:
                ours[name].append(run())
        for name, (peer, batch) in peers.items():
            theirs[name].append(peer.ask(do="pass", batch=batch))
        said = [f"{name} {found[-1]['texts_per_second']:.0f}" for name, found in [*ours.items(), *theirs.items()] if found]
        benchlib.note(f"  round {turn + 1}: " + ", ".join(said) + " tweets/s")
    return ours, theirs


def outcome(args, ours, theirs, goal):
    if args.peers_only:
        return {"peer": benchlib.spread([found["texts_per_second"] for found in theirs])}
    return drive.compare(args.rounds, ours, theirs, "texts_per_second", goal)


def bulk_int8(args, model_name, rows):
    folder, onnx = make_models.ensure(model_name)
    int8 = None if args.peers_only else finch_int8(folder)
    with score_peer(args, "ort", onnx / "model-int8.onnx", folder, rows) as peer:
        batch, tried = drive.best_batch(peer, BATCHES)
        ours, theirs = in_turns(args, {"onnxruntime": (peer, batch)}, {"finch": lambda: finch_score(args, int8, "int8", rows)})
    return {"rows": rows, "peer_settings": {"onnxruntime": {"graph": "model-int8.onnx", "batch": batch, "tried": tried}},
            "onnxruntime": outcome(args, ours["finch"], theirs["onnxruntime"], GOALS[f"{model_name}-int8"])}


def fastest(candidates):
    """(name, peer, batch) of the fastest, and what each reached."""
    tried = {name: drive.best_batch(peer, BATCHES) for name, peer in candidates.items()}
    name = max(tried, key=lambda at: max(tried[at][1].values()))
    return name, candidates[name], tried[name][0], {at: found[1] for at, found in tried.items()}


def read_logits(path):
    with open(path, encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        at = [column for column, name in enumerate(next(rows)) if name.startswith("logit_")]
        return [[float(row[column]) for column in at] for row in rows]


def floats_fit(args, folder, rows):
    """Which modes may count as finch's best float mode: their logits beside f32's on the same tweets, through `finch score`."""
    import pyarrow.parquet as parquet
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        texts = pathlib.Path(place) / "texts.parquet"
        parquet.write_table(parquet.read_table(benchlib.STOCKNET, columns=["tweet_id", "body"]).slice(0, rows), texts)
        logits = {}
        for compute in FLOATS:
            out = pathlib.Path(place) / f"{compute}.csv"
            drive.finch(args.threads, "score", "--model", folder, "--input", texts, "--output", out, "--compute", compute, "--logits")
            logits[compute] = read_logits(out)
    return {compute: fit(logits["f32"], logits[compute], rows) for compute in FLOATS}


def fit(wanted, found, rows):
    pairs = list(zip(wanted, found, strict=True))
    if len(pairs) != rows:
        raise drive.Failed(f"finch score answered {len(pairs)} rows of {rows}")
    apart = max(abs(a - b) for left, right in pairs for a, b in zip(left, right, strict=True))
    agree = sum(left.index(max(left)) == right.index(max(right)) for left, right in pairs) / len(pairs)
    return {"max_abs_logit": apart, "labels_agree": agree, "rows": rows,
            "fits": apart <= FLOAT_MAX_ABS and agree >= FLOAT_LABELS_AGREE}


def better_pytorch(args, folder):
    """Printed beside, never the peer: PyTorch with settings a user does not have as installed."""
    found = {}
    for name, more in {"f32, allocator": (), "f32, allocator, torch.compile": ("--compile",), "bf16 weights, allocator": ("--bf16",)}.items():
        with score_peer(args, "torch", folder, folder, args.rows, *more, environment=BETTER_ALLOCATOR) as peer:
            try:
                batch, tried = drive.best_batch(peer, BATCHES)
            except drive.Failed as why:
                found[name] = {"failed": str(why)[-400:]}
                continue
            found[name] = {"texts_per_second": tried[batch], "batch": batch}
            benchlib.note(f"  PyTorch with {name}: {tried[batch]:.0f} tweets/s")
    return found


def minilm_float(args):
    folder, onnx = make_models.ensure("minilm")
    with contextlib.ExitStack() as stack:
        candidates = {name: stack.enter_context(score_peer(args, "ort", onnx / name, folder, args.rows)) for name in ("model.onnx", "model-fused.onnx")}
        graph, ort, ort_batch, ort_tried = fastest(candidates)
        torch = stack.enter_context(score_peer(args, "torch", folder, folder, args.rows))
        torch_batch, torch_tried = drive.best_batch(torch, BATCHES)
        sides = {compute: lambda compute=compute: finch_score(args, folder, compute, args.rows) for compute in FLOATS}
        ours, theirs = in_turns(args, {"onnxruntime": (ort, ort_batch), "pytorch": (torch, torch_batch)}, sides)
    result = {"rows": args.rows, "peer_settings": {"onnxruntime": {"graph": graph, "batch": ort_batch, "tried": ort_tried},
                                                   "pytorch": {"batch": torch_batch, "tried": torch_tried, "settings": "as installed"}}}
    if not args.peers_only:
        result["fits"] = floats_fit(args, folder, args.rows)
        speeds = {compute: benchlib.spread([found["texts_per_second"] for found in ours[compute]])["median"] for compute in FLOATS}
        result["best_mode"] = max((compute for compute in FLOATS if result["fits"][compute]["fits"]), key=speeds.get)
    for peer in ("onnxruntime", "pytorch"):
        result[peer] = {compute: outcome(args, ours[compute], theirs[peer], GOALS[f"minilm-float/{peer}"]) for compute in sides}
    if not args.no_beside:
        result["beside"] = better_pytorch(args, folder)
    return result


def one_tweet(args):
    """p50 over single tweets: ONNX Runtime int8 with the same threads and with one, the faster; finch measures itself."""
    folder, onnx = make_models.ensure("minilm")
    int8 = None if args.peers_only else finch_int8(folder)
    ours, theirs = [], {}
    count = min(400, args.rows)
    with contextlib.ExitStack() as stack:
        peers = {}
        for threads in sorted({1, args.threads}):
            peers[threads] = stack.enter_context(drive.Peer(
                "score_peer.py", threads, "--runtime", "ort", "--model", onnx / "model-int8.onnx", "--tokenizer", folder / "tokenizer.json",
                "--texts", make_models.tweets(args.rows), "--rows", args.rows, "--threads", threads))
            peers[threads].ask(do="one", count=count)
            theirs[threads] = []
        for turn in range(args.rounds):
            if not args.peers_only:
                ours.append({"p50_ms": finch_score(args, int8, "int8", args.rows)["p50_ms_one"]})
            for threads, peer in peers.items():
                theirs[threads].append(peer.ask(do="one", count=count))
            said = ", ".join(f"onnxruntime {threads} threads {found[-1]['p50_ms']:.2f}" for threads, found in theirs.items())
            benchlib.note(f"  round {turn + 1}: " + (f"finch {ours[-1]['p50_ms']:.2f}, " if ours else "") + said + " ms")
    medians = {threads: benchlib.spread([found["p50_ms"] for found in each]) for threads, each in theirs.items()}
    best = min(medians, key=lambda threads: medians[threads]["median"])
    result = {"peer_settings": {"onnxruntime": {"threads": best, "tried": medians, "count": count}}}
    result["onnxruntime"] = ({"peer": medians[best]} if args.peers_only else
                             drive.compare(args.rounds, ours, theirs[best], "p50_ms", GOALS["one-tweet"], higher_is_better=False))
    return result


def memory(args):
    """Peak resident memory of a process that scores the tweets once in int8 and nothing else."""
    folder, onnx = make_models.ensure("minilm")
    int8 = None if args.peers_only else finch_int8(folder)
    ours, theirs = [], []
    for _ in range(args.rounds):
        if not args.peers_only:
            ours.append(finch_score(args, int8, "int8", args.rows))
        with score_peer(args, "ort", onnx / "model-int8.onnx", folder, args.rows) as peer:
            peer.ask(do="pass", batch=BATCHES[0])
            theirs.append(peer.ask(do="memory"))
    result = {"rows": args.rows, "peer_settings": {"onnxruntime": {"batch": BATCHES[0], "interpreter_and_imports_bytes":
                                                                  benchlib.spread([found["rss_before_model_bytes"] for found in theirs])}}}
    result["onnxruntime"] = ({"peer": benchlib.spread([found["peak_rss_bytes"] for found in theirs])} if args.peers_only else
                             drive.compare(args.rounds, ours, theirs, "peak_rss_bytes", GOALS["memory"], higher_is_better=False))
    return result


CASES = {
    "minilm-int8": lambda args: bulk_int8(args, "minilm", args.rows),
    "minilm-float": minilm_float,
    "bert-base-int8": lambda args: bulk_int8(args, "bert-base", args.bert_base_rows),
    "one-tweet": one_tweet,
    "memory": memory,
}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--rows", type=int, default=4000)
    options.add_argument("--bert-base-rows", type=int, default=1000, help="bert-base is eight times the work")
    options.add_argument("--peers-only", action="store_true", help="no finch side: what the peers reach here")
    options.add_argument("--no-beside", action="store_true", help="leave out PyTorch with better settings")
    args = options.parse_args()
    if not args.peers_only:
        drive.finch_binary()
    result = {"what": "scoring", "environment": benchlib.environment(args.threads), "peers_only": args.peers_only, "cases": {}}
    for name in args.cases:
        benchlib.note(name)
        result["cases"][name] = CASES[name](args)
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
