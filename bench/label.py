"""Labelling through a provider with 300 ms latency, finch beside the script that people write.

    python bench/label.py [--rounds 5] [--tweets 10000] [--cases speed faults memory fleet autolabel] [--realtime] [--autolabel VENV/bin/python]

The provider is the tests' stand-in (tests/provider), over TLS, on this machine, with no faults; both sides keep to the
same number of requests in flight. Two peers, both requests in a ThreadPoolExecutor (bench/peers/label_threads.py): `rows`
asks for one tweet a prompt, as refuel-ai's autolabel and most scripts do; `batched` for 20, as finch does. The one-row peer
labels a tenth of the tweets: its speed is that of the latency and does not depend on how many there are. All labels on all
sides are held against the stand-in's own.

--realtime  gives all sides, the stand-in and PostgreSQL the CPU before the machine's other work (SCHED_RR; needs CAP_SYS_NICE). All of them
        wait nearly all the time, so on a busy machine the time without it is that of the queue for a CPU.

ideal   rounds of requests x latency: ceil(ceil(tweets / batch) / in flight) x 0.3 s; finch's time is the whole command, with
        start, reading, the journal on disk (every request is written and flushed before it is sent) and the output. `lost` tells where
        the rest went, as the stand-in saw it: until the first request came; in the stand-in, which holds an answer longer than the latency
        (the median's excess, in each round of requests); after the last answer.
faults  2,000 tweets while a tenth of the requests goes wrong (tests/label/fleet.py: 429s, 5xx, resets, broken and misleading
        answers): of each side how many tweets have the stand-in's own class, none, another tweet's, or were paid for twice.
memory  1.7 million tweets queued in the store (--queued), finch stopped after --max-requests 200, then exported in each format: the
        most each process used.
fleet   1, then 4 workers (--fleet) on one PostgreSQL of the bench's own, each with 8 requests in flight: tweets/s from the first request to the
        last answer, against so many times one worker's; commits are flushed to the disk. Then 4 workers of which two are killed: how long after the kill the last tweet that
        they had was asked by another one; a lease is LEASE seconds, and may be looked at two seconds late.
autolabel  refuel-ai's autolabel (bench/peers/requirements-autolabel.txt, in a virtual environment of its own) on few tweets: it asks
        one prompt after another. Without --autolabel it is left out and the result says so.
"""
import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import benchlib

sys.path[:0] = [str(benchlib.ROOT / "tests" / folder) for folder in ("provider", "label", "cli")]
import fleet  # noqa: E402
from postgres import Postgres  # noqa: E402
from provider import Provider  # noqa: E402

BATCH, IN_FLIGHT, LATENCY = 20, 32, 0.3
GOALS = {"ideal": 0.95, "cpu_ms_a_tweet": 1.0, "peak_mib": 64, "rows": 3.0, "linear": 0.9}
QUEUED = 1_700_000
FLEET_IN_FLIGHT, LEASE, LATE_SECONDS = 8, 6, 2


def measure(words, env, folder):
    """Seconds, CPU seconds and most bytes of a process, and what it said on stdout."""
    began, begin = time.time(), time.monotonic()
    with open(os.path.join(folder, "said"), "w+b") as said, open(os.path.join(folder, "errors"), "w+b") as errors:
        process = subprocess.Popen([str(word) for word in words], env=env, stdout=said, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        said.seek(0)
        errors.seek(0)
        return {"status": process.returncode, "began": began, "seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime,
                "peak_rss_bytes": used.ru_maxrss * 1024, "said": said.read().decode(), "errors": errors.read().decode("utf-8", "replace")}


def must(done):
    if done["status"] != 0:
        raise SystemExit(f"a side ended with {done['status']}: {done['errors'][-2000:]}")
    return done


def check(path, texts):
    """Every tweet has the stand-in's own class: a side that loses answers is not measured."""
    with open(path, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    wrong = sum(row["label"] != fleet.class_of(text) for row, text in zip(rows, texts))
    if len(rows) != len(texts) or wrong:
        raise SystemExit(f"{path}: {len(rows)} of {len(texts)} rows, {wrong} without their class")


def run_finch(provider, folder, texts, turn, *more, whole=True):
    source, output, state = fleet.write_input(folder, texts), f"{folder}/finch.csv", f"{folder}/state-{turn}.sqlite"
    words = fleet.command(provider, source, output, state, "--batch", BATCH, "--in-flight", IN_FLIGHT, "--quiet", *more)
    done = must(measure(words, fleet.environment(provider), folder))
    if whole:
        check(output, texts)
    return done


def run_threads(provider, folder, texts, batch, whole=True):
    source, output = fleet.write_input(folder, texts), f"{folder}/threads.csv"
    words = [sys.executable, benchlib.ROOT / "bench" / "peers" / "label_threads.py", "--url", provider.url, "--ca", provider.ca_file, "--input", source,
             "--output", output, "--batch", batch, "--in-flight", IN_FLIGHT]
    done = must(measure(words, fleet.environment(provider), folder))
    if whole:
        check(output, texts)
    return done


def run_autolabel(provider, folder, texts, python):
    source, output = fleet.write_input(folder, texts), f"{folder}/autolabel.csv"
    words = [python, benchlib.ROOT / "bench" / "peers" / "label_autolabel.py", "--url", provider.url, "--ca", provider.ca_file, "--input", source, "--output", output]
    done = must(measure(words, fleet.environment(provider), folder))
    # Its own clock: loading pandas and langchain is not labelling.
    done["seconds"] = json.loads(done["said"].splitlines()[-1])["seconds"]
    return done, output


def speeds(done, n):
    return {"tweets_per_second": n / done["seconds"], "seconds": done["seconds"], "cpu_ms_a_tweet": 1e3 * done["cpu_seconds"] / n,
            "peak_mib": done["peak_rss_bytes"] / 2 ** 20}


def each(runs, key):
    return benchlib.spread([run[key] for run in runs])


def losses(provider, done, rounds):
    """Seconds of a run beyond the latency of its rounds: before the first request, in the stand-in, after the last answer."""
    times = [(came["at_ms"] * 1e-3, over["at_ms"] * 1e-3) for came, over in provider.requests().values()]
    held = statistics.median(over - came for came, over in times)
    return {"before_first": min(came for came, _ in times) - done["began"], "standin": rounds * (held - LATENCY),
            "after_last": done["began"] + done["seconds"] - max(over for _, over in times)}


def speed(args):
    texts = fleet.tweets(args.tweets)
    few = texts[:args.tweets // 10]
    n_rounds = math.ceil(math.ceil(args.tweets / BATCH) / IN_FLIGHT)
    ideal, lost = n_rounds * LATENCY, []
    sides = {"finch": [], "rows": [], "batched": []}
    folder = tempfile.mkdtemp(prefix="finch-bench-label-")
    try:
        for turn in range(args.rounds):
            with Provider(tls=True, config={"latency_ms": LATENCY * 1e3}) as provider:
                done = run_finch(provider, folder, texts, turn)
                sides["finch"].append(speeds(done, args.tweets))
                lost.append(losses(provider, done, n_rounds))
                if provider.most_at_once() > IN_FLIGHT:
                    raise SystemExit("finch had more requests in flight than it was allowed")
                sides["batched"].append(speeds(run_threads(provider, folder, texts, BATCH), args.tweets))
                sides["rows"].append(speeds(run_threads(provider, folder, few, 1), len(few)))
            benchlib.note(f"  round {turn + 1}: " + ", ".join(f"{name} {runs[-1]['tweets_per_second']:.0f} tweets/s" for name, runs in sides.items()))
    finally:
        shutil.rmtree(folder, True)
    result = {"tweets": args.tweets, "batch": BATCH, "in_flight": IN_FLIGHT, "latency_seconds": LATENCY, "ideal_seconds": ideal,
              "sides": {name: {key: each(runs, key) for key in runs[0]} for name, runs in sides.items()}}
    shares = [ideal / run["seconds"] for run in sides["finch"]]
    result["lost"] = {where: each(lost, where) for where in lost[0]}
    result["of_ideal"] = {**benchlib.spread(shares), "at_least": GOALS["ideal"], "reached": statistics.median(shares) >= GOALS["ideal"]}
    cpu = result["sides"]["finch"]["cpu_ms_a_tweet"]["median"]
    result["cpu_ms_a_tweet"] = {"finch": cpu, "at_most": GOALS["cpu_ms_a_tweet"], "reached": cpu < GOALS["cpu_ms_a_tweet"]}
    for peer in ("rows", "batched"):
        ratios = [ours["tweets_per_second"] / theirs["tweets_per_second"] for ours, theirs in zip(sides["finch"], sides[peer])]
        result[peer] = {"finch": each(sides["finch"], "tweets_per_second"), "peer": each(sides[peer], "tweets_per_second"), "ratio": benchlib.spread(ratios)}
    # Beside a peer that batches too both wait for the provider: there is nothing to win but CPU, and no goal.
    result["rows"]["reached"] = result["rows"]["ratio"]["median"] >= GOALS["rows"]
    return result


def tally(path, texts, provider):
    """What became of each tweet, and what was paid for more than once."""
    rows = fleet.read_output(path)
    labels = [row["label"] for row in rows]
    return {"right": sum(label == fleet.class_of(text) for label, text in zip(labels, texts)), "unlabelled": labels.count(""),
            "wrong": sum(label != "" and label != fleet.class_of(text) for label, text in zip(labels, texts)), "rows_missing": len(texts) - len(rows),
            "paid_twice": sum(n > 1 for n in provider.answers().values()), "requests": len(provider.requests())}


def faults(args):
    texts, sides = fleet.tweets(2000), {}
    # No hangs: the script waits for them a minute each.
    rules = fleet.faults(0.1, silent=False)
    runs = {"finch": lambda provider, folder: run_finch(provider, folder, texts, 0, *fleet.HASTE, whole=False),
            "batched": lambda provider, folder: run_threads(provider, folder, texts, BATCH, whole=False)}
    for name, run in runs.items():
        folder = tempfile.mkdtemp(prefix="finch-bench-label-")
        try:
            with Provider(tls=True, config={"latency_ms": LATENCY * 1e3, "rules": rules}) as provider:
                done = run(provider, folder)
                sides[name] = {**tally(f"{folder}/{'finch' if name == 'finch' else 'threads'}.csv", texts, provider), "seconds": done["seconds"]}
        finally:
            shutil.rmtree(folder, True)
    ours = sides["finch"]
    return {"tweets": len(texts), "share": 0.1, "sides": sides, "reached": ours["wrong"] == ours["rows_missing"] == ours["paid_twice"] == 0}


def autolabel(args):
    if args.autolabel is None:
        return {"left_out": "autolabel is not installed; name its python with --autolabel (bench/peers/requirements-autolabel.txt)"}
    texts, folder = fleet.tweets(args.tweets // 100), tempfile.mkdtemp(prefix="finch-bench-label-")
    config = {"latency_ms": LATENCY * 1e3, "style": "openai", "models": {"gpt-3.5-turbo": {"writes": "class"}, "standin/five": {}}}
    try:
        with Provider(tls=True, config=config) as provider:
            done, output = run_autolabel(provider, folder, texts, args.autolabel)
            theirs = {**speeds(done, len(texts)), **tally(output, texts, provider)}
        with Provider(tls=True, config=config) as provider:
            many = fleet.tweets(args.tweets)
            ours = speeds(run_finch(provider, folder, many, 0), len(many))
    finally:
        shutil.rmtree(folder, True)
    ratio = ours["tweets_per_second"] / theirs["tweets_per_second"]
    return {"finch": ours, "autolabel": theirs, "ratio": ratio, "at_least": GOALS["rows"], "reached": ratio >= GOALS["rows"]}


def memory(args):
    folder = tempfile.mkdtemp(prefix="finch-bench-label-")
    try:
        texts = (f"${'AAPL' if at % 2 else 'TSLA'} tweet number {at} about earnings, guidance and what the market makes of them" for at in range(args.queued))
        source = fleet.write_input(folder, texts)
        with Provider(tls=True) as provider:
            # It stops at its bound of requests with exit code 1; all texts are in the store by then.
            words = fleet.command(provider, source, f"{folder}/out.csv", f"{folder}/state.sqlite", "--max-requests", 200, "--quiet")
            done = measure(words, fleet.environment(provider), folder)
            requests = len(provider.requests())
        if done["status"] != 1 or requests != 200:
            raise SystemExit(f"finch ended with {done['status']} after {requests} requests: {done['errors'][-2000:]}")
        status = json.loads(must(measure([fleet.PROGRAM, "label", "status", "--state", f"{folder}/state.sqlite", "--json"],
                                         fleet.environment(provider), folder))["said"])["jobs"][0]
        sides = {"run": done}
        benchlib.note(f"  run {done['peak_rss_bytes'] / 2 ** 20:.1f} MiB in {done['seconds']:.0f} s, {status['texts']} texts queued")
        for ending in ("csv", "jsonl", "parquet", "csv.gz", "jsonl.zst"):
            words = [fleet.PROGRAM, "label", "export", "--state", f"{folder}/state.sqlite", "--output", f"{folder}/out.{ending}", "--quiet"]
            sides[ending] = must(measure(words, fleet.environment(provider), folder))
            os.remove(f"{folder}/out.{ending}")
            benchlib.note(f"  export as {ending} {sides[ending]['peak_rss_bytes'] / 2 ** 20:.1f} MiB in {sides[ending]['seconds']:.0f} s")
        peaks = {name: side["peak_rss_bytes"] / 2 ** 20 for name, side in sides.items()}
        return {"queued": status["texts"], "waiting": status["waiting"], "peak_mib": peaks, "at_most": GOALS["peak_mib"],
                "reached": status["texts"] == args.queued and max(peaks.values()) < GOALS["peak_mib"],
                "seconds": {name: side["seconds"] for name, side in sides.items()}, "store_mib": os.path.getsize(f"{folder}/state.sqlite") / 2 ** 20}
    finally:
        shutil.rmtree(folder, True)


def wait_until(done, what, seconds=120):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def workers(provider, folder, source, state, n, *more):
    words = [fleet.command(provider, source, f"{folder}/{at}.csv", state, "--batch", BATCH, "--in-flight", FLEET_IN_FLIGHT, "--quiet", *more)
             for at in range(n)]
    return [subprocess.Popen(one, env=fleet.environment(provider)) for one in words]


def fleet_run(server, n_workers, n_tweets, turn):
    """Tweets/s of n_workers, each tweet labelled once."""
    folder, texts = tempfile.mkdtemp(prefix="finch-bench-fleet-"), fleet.tweets(n_tweets, seed=turn)
    try:
        with Provider(tls=True, config={"latency_ms": LATENCY * 1e3}) as provider:
            source, state = fleet.write_input(folder, texts), server.url(f"speed{turn}")
            must(measure(fleet.command(provider, source, f"{folder}/0.csv", state, "--dry-run", "--quiet"), fleet.environment(provider), folder))
            if any(one.wait() != 0 for one in workers(provider, folder, source, state, n_workers)):
                raise SystemExit("a worker of the fleet failed")
            answers = provider.answers()
            if set(answers.values()) != {1} or len(answers) != n_tweets:
                raise SystemExit(f"the fleet answered {len(answers)} of {n_tweets} tweets, {sum(n > 1 for n in answers.values())} of them twice")
            for at in range(n_workers):
                check(f"{folder}/{at}.csv", texts)
            times = provider.requests().values()
            return n_tweets / (max(out["at_ms"] for _, out in times) - min(came["at_ms"] for came, _ in times)) * 1e3
    finally:
        shutil.rmtree(folder, True)


def take_over(server, args):
    """Seconds from each of two kills until nothing is held by the dead."""
    folder, texts, seconds = tempfile.mkdtemp(prefix="finch-bench-fleet-"), fleet.tweets(args.fleet), []
    running = []
    try:
        with Provider(tls=True, config={"latency_ms": LATENCY * 1e3}) as provider:
            source, state = fleet.write_input(folder, texts), server.url("dead")
            must(measure(fleet.command(provider, source, f"{folder}/0.csv", state, "--dry-run", "--quiet"), fleet.environment(provider), folder))
            running = workers(provider, folder, source, state, 4, "--lease", LEASE)
            for victim in running[:2]:
                held = f"SELECT count(*) FROM label_item WHERE state = 1 AND owner LIKE '%/{victim.pid}/%'"
                wait_until(lambda: int(server.query("dead", held)[0][0]) > 0, "the worker to be killed leased nothing")
                victim.kill()
                victim.wait()
                begin = time.monotonic()
                if int(server.query("dead", held)[0][0]) == 0:
                    raise SystemExit("the killed worker held nothing: nothing is shown")
                wait_until(lambda: int(server.query("dead", held)[0][0]) == 0, "a lease of the dead was not taken over")
                seconds.append(time.monotonic() - begin)
            if any(one.wait() != 0 for one in running[2:]):
                raise SystemExit("a worker of the fleet failed")
            check(f"{folder}/2.csv", texts)
            return seconds
    finally:
        for one in running:
            one.kill()
            one.wait()
        shutil.rmtree(folder, True)


def fleets(args):
    with Postgres(durable=True) as server:
        rounds = []
        for turn in range(args.rounds):
            one, four = fleet_run(server, 1, args.fleet // 4, 2 * turn), fleet_run(server, 4, args.fleet, 2 * turn + 1)
            rounds.append({"one": one, "four": four, "share": four / (4 * one)})
            benchlib.note(f"  round {turn + 1}: 1 worker {one:.0f} tweets/s, 4 workers {four:.0f}: {100 * rounds[-1]['share']:.1f} % of 4 times one")
        seconds = take_over(server, args)
    share = each(rounds, "share")
    return {"in_flight_each": FLEET_IN_FLIGHT, "one": each(rounds, "one"), "four": each(rounds, "four"), "share": share, "at_least": GOALS["linear"],
            "lease_seconds": LEASE, "take_over_seconds": seconds,
            "reached": share["median"] >= GOALS["linear"] and max(seconds) <= LEASE + LATE_SECONDS}


CASES = {"speed": speed, "faults": faults, "memory": memory, "fleet": fleets, "autolabel": autolabel}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--tweets", type=int, default=10000)
    options.add_argument("--queued", type=int, default=QUEUED)
    options.add_argument("--fleet", type=int, default=16000, help="tweets for the 4 workers of a fleet")
    options.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    options.add_argument("--autolabel", metavar="PYTHON")
    options.add_argument("--realtime", action="store_true", help="the CPU before the machine's other work (needs CAP_SYS_NICE)")
    args = options.parse_args()
    if args.realtime:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # what is started from here on has it too
        except PermissionError:
            raise SystemExit("--realtime is not permitted here; it needs CAP_SYS_NICE") from None
    result = {"environment": benchlib.environment(args.threads), "realtime": args.realtime}
    for case in args.cases:
        result[case] = CASES[case](args)
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    main()
