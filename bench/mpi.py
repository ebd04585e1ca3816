"""Two processes beside one with two threads: training over MPI, and scoring in shards.

    python bench/mpi.py [--rounds 5] [--cases full adapters link link-adapters score]

full, adapters: `mpirun -n 2 finch train` with a thread each and `finch train` with two, MiniLM on fintweets5/train.csv, the same global
batch; examples a second between two lines of metrics.jsonl, so without start-up and evaluation. link, link-adapters: the ranks
are on two machines, so to speak, with a wire of 1 Gbit/s each way between them on which a round trip takes 1 ms (slow_link.py; it needs root), beside
the ranks over shared memory, with a step of --link-accumulate batches: gradients travel once a step. What the wire really does is measured before the rounds, and
`relay_cpu_seconds` is the CPU that carrying its packets took over all of them. score: two shards at a time with a thread each
beside one process with two, the model that ships; tweets a second of the slower shard's time.
"""
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import benchlib
import drive
import slow_link

TRAIN = benchlib.ROOT / "data" / "fintweets5" / "train.csv"
VALID = benchlib.ROOT / "data" / "fintweets5" / "valid.csv"
GOALS = {"full": 0.90, "adapters": 0.90, "link": 0.80, "link-adapters": 0.95, "score": 0.95}
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2"]
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def train(args, folder, place, ranks, case, link=None):
    """Examples a second between the first and the last line of the journal."""
    output = place / "model"
    words = [str(drive.finch_binary()), "train", "--model", str(folder), "--train", str(TRAIN), "--valid", str(place / "valid.csv"), "--output", str(output),
             "--batch", str(args.batch), "--accumulate", str(args.link_accumulate if case.startswith("link") else 1), "--max-tokens", "64", "--max-steps", str(args.warm_up + args.steps), "--eval-every", "1000000", "--log-every",
             str(args.warm_up), "--checkpoint-every", "1000000", "--quiet", *(["--lora"] if case.endswith("adapters") else [])]
    launch = [] if ranks == 1 else link.mpirun if link is not None else MPIRUN
    threads = args.threads // ranks
    done = subprocess.run([*launch, *words, "--threads", str(threads)], env={**drive.pinned(threads), **AS_ROOT}, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise drive.Failed(f"{' '.join(words)} on {ranks} ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
    with open(output / "metrics.jsonl", encoding="utf-8") as lines:
        events = [event for event in map(json.loads, lines) if event["event"] == "train"]
    shutil.rmtree(output)
    first, last = events[0], events[-1]
    examples = (last["step"] - first["step"]) * args.batch * (args.link_accumulate if case.startswith("link") else 1)
    return {"examples_per_second": examples / (last["seconds"] - first["seconds"]), "loss": last["loss"]}


def training(args, folder, place, case):
    ours, theirs, over_link = [], [], case.startswith("link")
    with slow_link.SlowLink() if over_link else contextlib.nullcontext() as link:
        wire = link.measure() if over_link else None
        for turn in range(args.rounds):
            ours.append(train(args, folder, place, 2, case, link))
            theirs.append(train(args, folder, place, 2 if over_link else 1, case))
            benchlib.note(f"  {case}, round {turn + 1}: {ours[-1]['examples_per_second']:.1f} beside {theirs[-1]['examples_per_second']:.1f} examples/s")
        if over_link:
            wire |= link.close()
    worst = max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(ours, theirs))
    return {**drive.compare(args.rounds, ours, theirs, "examples_per_second", GOALS[case]), "loss_differs_by": worst, "link": wire}


def score_shards(args, place):
    words = [str(drive.finch_binary()), "score", "--input", str(benchlib.STOCKNET), "--output", str(place / "many.parquet"), "--limit", str(args.rows),
             "--threads", str(args.threads // 2), "--shards", "2", "--json", "--quiet"]
    running = [subprocess.Popen([*words, "--shard", str(shard)], stdout=subprocess.PIPE, env=drive.pinned(args.threads // 2)) for shard in range(2)]
    found = [json.loads(process.communicate()[0]) for process in running]
    if any(process.returncode != 0 for process in running):
        raise drive.Failed("a shard failed")
    shutil.rmtree(place / "many.parquet.parts")
    return {"texts_per_second": args.rows / max(one["seconds"] for one in found)}


def scoring(args, place):
    ours, theirs = [], []
    for turn in range(args.rounds):
        ours.append(score_shards(args, place))
        theirs.append(drive.finch(args.threads, "score", "--input", benchlib.STOCKNET, "--output", place / "one.parquet", "--limit", args.rows))
        benchlib.note(f"  score, round {turn + 1}: {ours[-1]['texts_per_second']:.0f} beside {theirs[-1]['texts_per_second']:.0f} tweets/s")
    return drive.compare(args.rounds, ours, theirs, "texts_per_second", GOALS["score"])


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--steps", type=int, default=40, help="steps that are timed")
    options.add_argument("--warm-up", type=int, default=10)
    options.add_argument("--batch", type=int, default=32, help="texts of a step, over all ranks")
    options.add_argument("--link-accumulate", type=int, default=2, help="batches of a step over the link")
    options.add_argument("--rows", type=int, default=40_000, help="tweets of score")
    options.add_argument("--cases", nargs="+", choices=list(GOALS), default=list(GOALS))
    args = options.parse_args()
    if args.steps % args.warm_up != 0:
        raise drive.Failed("--steps must be a multiple of --warm-up: the journal has a line every so many")
    if shutil.which("mpirun") is None:
        raise drive.Failed("Open MPI's mpirun is not installed; run: tools/setup.sh test")
    folder = None if args.cases == ["score"] else benchlib.base_model()
    result = {"what": "two processes beside one", "environment": benchlib.environment(args.threads), "batch": args.batch, "link_accumulate": args.link_accumulate, "steps": args.steps, "rows": args.rows}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as where:
        place = pathlib.Path(where)
        with open(VALID, encoding="utf-8") as whole, open(place / "valid.csv", "w", encoding="utf-8") as few:
            few.writelines(whole.readlines()[:65])
        for case in args.cases:
            try:
                result[case] = scoring(args, place) if case == "score" else training(args, folder, place, case)
            except slow_link.NoLink as why:
                result[case] = {"skipped": str(why)}
    result["seconds"] = time.monotonic() - began
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
