"""A broker's backlog scored and published again: finch stream beside finch score on the same tweets; then its latency at half load.

    python bench/stream.py [--broker redis nats kafka] [--tweets 20000] [--rounds 3] [--seconds 20]

Each turn scores the same tweets once by `finch score`, from JSON lines to JSON lines, and once by `finch stream`, from the broker's
stream to another one of it, in turns. Kafka is librdkafka's stand-in for a cluster (tests/stream/brokers.py), no broker. finch score is timed from the opened model to the finished file. finch stream is timed by the
broker's clock, from its first output to its last, without the first batch: both are the rate of a run that goes on. The broker runs on the
same machine and takes its share of the cores, which a real one does not. cpu_ratio is of the seconds of CPU that each took: what is left of it
where the machine has other work.

The latency is from the broker's time of a tweet to its time of the output, at half of the rate that was measured, tweets coming at
even distances.
"""
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import benchlib
import drive

sys.path.insert(0, str(benchlib.ROOT / "tests" / "stream"))
import brokers  # noqa: E402

SERVERS = {"redis": brokers.RedisServer, "nats": brokers.NatsServer, "kafka": brokers.KafkaServer}
BATCH = 256


def tweets(n):
    import duckdb
    texts = [row[0] for row in duckdb.sql(f"SELECT body FROM '{benchlib.STOCKNET}' LIMIT {n}").fetchall()]
    return [{"tweet_id": i, "body": texts[i % len(texts)]} for i in range(n)]


def run(words):
    """The document of a finch run, and the seconds of CPU that it took, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(drive.finch_binary()), *words, "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        raise drive.Failed(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(done.stdout), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def score_turn(options, lines, folder):
    done, cpu = run(["score", "--input", str(lines), "--output", str(folder / "scored.jsonl"), "--threads", str(options.threads), *options.model])
    return done["texts_per_second"], cpu


def stream_words(broker, options):
    return ["stream", "--broker", broker.url, "--input", broker.input, "--output", broker.output, "--threads", str(options.threads),
            "--batch", str(BATCH), *broker.words, *options.model]


def stream_turn(kind, rows, options):
    with SERVERS[kind]() as broker:
        broker.publish(rows)
        done, cpu = run([*stream_words(broker, options), "--until-empty"])
        times = sorted(broker.output_times().values())
    if done["scored"] != len(rows) or len(times) != len(rows):
        raise drive.Failed(f"{len(rows)} tweets went in, {len(times)} came out")
    return (len(times) - BATCH) / (times[-1] - times[BATCH - 1]), cpu


def latencies(kind, rate, rows, options):
    """Seconds from the broker's time of each tweet to that of its output."""
    with SERVERS[kind]() as broker:
        running = subprocess.Popen([str(drive.finch_binary()), *stream_words(broker, options), "--quiet"])
        try:
            broker.publish(rows[:1])
            while broker.n_outputs() < 1:  # the model is open
                time.sleep(0.05)
            sent = pace(broker, rate, rows, options.seconds)
            until = time.monotonic() + 60
            while broker.n_outputs() < 1 + len(sent) and time.monotonic() < until:
                time.sleep(0.1)
            arrived = broker.output_times()
        finally:
            running.terminate()
            running.wait()
    out = {id.rsplit("@", 1)[0]: at for id, at in arrived.items()}
    return sorted(out[id] - at for id, at in sent.items())


def pace(broker, rate, rows, seconds):
    """Tweets at this rate, in groups of a fiftieth of a second. {id: the broker's time}"""
    ids, begin, done = [], time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        due = min(int((time.monotonic() - begin) * rate) - done, 10000)
        if due > 0:
            ids += broker.publish([rows[(done + i) % len(rows)] for i in range(due)])
            done += due
        time.sleep(0.02)
    times = broker.input_times()
    return {id: times[id] for id in ids}


def measure(kind, rows, lines, options):
    folder = pathlib.Path(options.folder)
    turns = []
    for number in range(options.rounds):
        (score, score_cpu), (stream, stream_cpu) = score_turn(options, lines, folder), stream_turn(kind, rows, options)
        turns.append({"score_per_second": score, "stream_per_second": stream, "ratio": stream / score, "score_cpu_seconds": score_cpu,
                      "stream_cpu_seconds": stream_cpu, "cpu_ratio": score_cpu / stream_cpu})
        benchlib.note(f"{kind}: turn {number + 1}: finch score {score:.0f}/s, finch stream {stream:.0f}/s, {stream / score:.3f}; "
                      f"of CPU time {score_cpu / stream_cpu:.3f}")
    rate = benchlib.spread([turn["stream_per_second"] for turn in turns])["median"] / 2
    late = latencies(kind, rate, rows, options)
    return {"turns": turns, "cpu_ratio": benchlib.spread([turn["cpu_ratio"] for turn in turns]), "ratio": benchlib.spread([turn["ratio"] for turn in turns]),
            "half_load": {"tweets_per_second": rate, "tweets": len(late), "p50_ms": late[len(late) // 2] * 1000,
                          "p99_ms": late[len(late) * 99 // 100] * 1000, "max_ms": late[-1] * 1000}}


def main():
    parser = benchlib.parser(__doc__)
    parser.add_argument("--broker", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--model", default=None, help="the model of both (default: the one that ships)")
    parser.add_argument("--tweets", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of the half load")
    options = parser.parse_args()
    options.model = ["--model", options.model] if options.model else []
    rows = tweets(options.tweets)
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        lines = pathlib.Path(folder) / "tweets.jsonl"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        found = {kind: measure(kind, rows, lines, options) for kind in options.broker}
    benchlib.emit({"bench": "stream", "environment": benchlib.environment(options.threads), "tweets": len(rows), "batch": BATCH,
                   "brokers": found}, options.save)


if __name__ == "__main__":
    main()
