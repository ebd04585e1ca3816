"""Two processes beside one with two threads: training over MPI, and scoring in shards.

    python bench/mpi.py [--rounds 5] [--cases full adapters link link-adapters score]

full, adapters: `mpirun -n 2 finch train` with a thread each and `finch train` with two, MiniLM on fintweets5/train.csv, the same global
batch; examples a second between two lines of metrics.jsonl, so without start-up and evaluation. link, link-adapters: the ranks talk
over TCP in a network namespace whose loopback carries 1 Gbit/s each way (tc tbf; it needs root), beside the ranks over shared memory, with a
step of --link-accumulate batches: gradients travel once a step.
Where tc knows netem a round trip also takes 1 ms; the result says whether it did. score: two shards at a time with a thread each
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
import make_models

TRAIN = benchlib.ROOT / "data" / "fintweets5" / "train.csv"
VALID = benchlib.ROOT / "data" / "fintweets5" / "valid.csv"
GOALS = {"full": 0.90, "adapters": 0.90, "link": 0.80, "link-adapters": 0.95, "score": 0.95}
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2"]
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
NAMESPACE = "finch-bench-link"


class NoLink(Exception):
    """No slow link can be made here."""


@contextlib.contextmanager
def slow_link():
    """Words that run a command behind the link, and what the link is."""
    def run(*words, inside=True):
        where = ["ip", "netns", "exec", NAMESPACE] if inside else []
        return subprocess.run([*where, *words], capture_output=True, text=True, check=False)
    if run("ip", "netns", "add", NAMESPACE, inside=False).returncode != 0:
        raise NoLink("no network namespace can be made here (ip netns add needs root)")
    try:
        run("ip", "link", "set", "lo", "up")
        # Both directions pass the one loopback: twice the rate of each.
        delayed = run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "500us", "rate", "2gbit", "limit", "100000").returncode == 0
        if not delayed:
            done = run("tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "2gbit", "burst", "256kb", "latency", "50ms")
            if done.returncode != 0:
                raise NoLink(f"tc limits no rate here: {done.stderr.strip()}")
        yield ["ip", "netns", "exec", NAMESPACE], {"gbit_each_way": 1, "round_trip_ms": 1 if delayed else 0}
    finally:
        run("ip", "netns", "del", NAMESPACE, inside=False)


def train(args, folder, place, ranks, case, behind=()):
    """Examples a second between the first and the last line of the journal."""
    output = place / "model"
    words = [str(drive.finch_binary()), "train", "--model", str(folder), "--train", str(TRAIN), "--valid", str(place / "valid.csv"), "--output", str(output),
             "--batch", str(args.batch), "--accumulate", str(args.link_accumulate if case.startswith("link") else 1), "--max-tokens", "64", "--max-steps", str(args.warm_up + args.steps), "--eval-every", "1000000", "--log-every",
             str(args.warm_up), "--checkpoint-every", "1000000", "--quiet", *(["--lora"] if case.endswith("adapters") else [])]
    launch = [] if ranks == 1 else [*MPIRUN, *(["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"] if behind else [])]
    threads = args.threads // ranks
    done = subprocess.run([*behind, *launch, *words, "--threads", str(threads)], env={**drive.pinned(threads), **AS_ROOT}, capture_output=True, text=True,
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
    ours, theirs, link = [], [], None
    with slow_link() if case.startswith("link") else contextlib.nullcontext(([], None)) as (behind, link):
        for turn in range(args.rounds):
            ours.append(train(args, folder, place, 2, case, behind))
            theirs.append(train(args, folder, place, 2 if behind else 1, case))
            benchlib.note(f"  {case}, round {turn + 1}: {ours[-1]['examples_per_second']:.1f} beside {theirs[-1]['examples_per_second']:.1f} examples/s")
    worst = max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(ours, theirs))
    return {**drive.compare(args.rounds, ours, theirs, "examples_per_second", GOALS[case]), "loss_differs_by": worst, "link": link}


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
    options.add_argument("--link-accumulate", type=int, default=8, help="batches of a step over the link")
    options.add_argument("--rows", type=int, default=40_000, help="tweets of score")
    options.add_argument("--cases", nargs="+", choices=list(GOALS), default=list(GOALS))
    args = options.parse_args()
    if args.steps % args.warm_up != 0:
        raise drive.Failed("--steps must be a multiple of --warm-up: the journal has a line every so many")
    if shutil.which("mpirun") is None:
        raise drive.Failed("Open MPI's mpirun is not installed; run: tools/setup.sh test")
    folder = None if args.cases == ["score"] else make_models.ensure("minilm")[0]
    result = {"what": "two processes beside one", "environment": benchlib.environment(args.threads), "batch": args.batch, "link_accumulate": args.link_accumulate, "steps": args.steps, "rows": args.rows}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as where:
        place = pathlib.Path(where)
        with open(VALID, encoding="utf-8") as whole, open(place / "valid.csv", "w", encoding="utf-8") as few:
            few.writelines(whole.readlines()[:65])
        for case in args.cases:
            try:
                result[case] = scoring(args, place) if case == "score" else training(args, folder, place, case)
            except NoLink as why:
                result[case] = {"skipped": str(why)}
    result["seconds"] = time.monotonic() - began
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
