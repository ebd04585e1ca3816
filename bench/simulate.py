"""Replicas of finch serve, simulated: bursts of arrivals, queues, batches, and how many replicas a load needs.

    python bench/simulate.py [--seconds 20] [--rates 100 1000 6000] [--core-hour DOLLARS] [--price-in DOLLARS --price-out DOLLARS]

1. Service times are measured: one finch serve with one compute thread answers requests of 1 to 32 tweets, and what /metrics says of its
   batches gives seconds = a + b * tokens by least squares. A request's own cost (HTTP, JSON) is the process's CPU time less that.
2. The simulator runs arrivals through R replicas of T compute threads: the queue, the packed batches and the refusals are those of
   src/serve/batcher.c, in virtual time.
3. It is held against reality: the same arrivals (same instants, same tweets) go to two real finch serve processes in turn, at several
   shares of the capacity that the simulator states, and the latencies of both are printed side by side, with their ratio.
4. Budgets: bytes of a request and its answer on the wire, and rows a second and bytes a row of the SQLite history, by importing scored tweets.
5. The plan: for each rate, the fewest replicas of one core whose 99th percentile stays under --p99-ms through bursts of --burst times
   the rate, and what a million tweets costs at --core-hour dollars beside asking a language model (finch label --dry-run says how many tokens).

Prices are arguments, never measurements: their defaults are printed with the result. Rates past one machine are simulated only.
"""
import asyncio
import contextlib
import dataclasses
import heapq
import json
import math
import os
import pathlib
import random
import re
import resource
import statistics
import sys
import tempfile
import time
import urllib.request

import benchlib
import drive
import serve

BATCH_TOKENS, MAX_QUEUE, TEXTS_MAX = 512, 4096, 1024  # finch serve's defaults; batcher.c's
BYTES_A_TOKEN, TOKENS_MIN, TOKENS_MAX = 4, 2, 128     # how batcher.c guesses a text's tokens before it knows them


@dataclasses.dataclass(frozen=True)
class Text:
    body: bytes    # the request's
    n_tokens: int
    guess: int


@dataclasses.dataclass(frozen=True)
class Service:
    """Seconds of one core: a batch costs `batch` and `token` for each token, a request `request` beside it."""
    batch: float
    token: float
    request: float

    def seconds(self, n_texts, n_tokens):
        return self.batch + self.token * n_tokens + self.request * n_texts


# ---- the simulator ---------------------------------------------------------------------------------------------------------


class Replica:
    """One process: a queue and threads that each take the oldest text and what fits beside it (take_batch in batcher.c)."""

    def __init__(self, threads, service):
        self.queue, self.idle, self.service = [], threads, service
        self.busy_seconds, self.n_batches = 0.0, 0

    def take(self):
        fair = min((len(self.queue) + self.idle - 1) // self.idle, TEXTS_MAX)
        taken, left, tokens = [], [], 0
        for waiting in self.queue:
            if len(taken) < fair and (not taken or tokens + waiting[1].guess <= BATCH_TOKENS):
                taken.append(waiting)
                tokens += waiting[1].guess
            else:
                left.append(waiting)
        self.queue = left
        return taken

    def start(self, now, events, order):
        while self.idle > 0 and self.queue:
            batch = self.take()
            self.idle -= 1
            took = self.service.seconds(len(batch), sum(text.n_tokens for _, text in batch))
            self.busy_seconds += took
            self.n_batches += 1
            heapq.heappush(events, (now + took, next(order), self, batch))


def simulate(arrivals, texts, replicas, threads, service):
    """Latencies in seconds of `arrivals` (instants, ascending) given to the replicas in turn; None for one that was refused."""
    servers = [Replica(threads, service) for _ in range(replicas)]
    events, order, latencies = [], iter(range(sys.maxsize)), [None] * len(arrivals)

    def finish(until):
        while events and events[0][0] <= until:
            now, _, server, batch = heapq.heappop(events)
            for index, _ in batch:
                latencies[index] = now - arrivals[index]
            server.idle += 1
            server.start(now, events, order)

    for index, now in enumerate(arrivals):
        finish(now)
        server = servers[index % replicas]
        if len(server.queue) < MAX_QUEUE:
            server.queue.append((index, texts[index % len(texts)]))
            server.start(now, events, order)
    finish(math.inf)
    served = sum(latency is not None for latency in latencies)
    span = max(arrivals[-1], 1e-9)
    return latencies, {"utilisation": sum(s.busy_seconds for s in servers) / (replicas * threads * span),
                       "texts_a_batch": served / max(1, sum(s.n_batches for s in servers))}


def arrive(rate, seconds, burst=1.0, seed=1):
    """Instants of a Poisson process whose rate switches between two levels: a tenth of the time `burst` times the mean (bursts of two
    seconds on average), else what is left; burst 1 is a plain Poisson process."""
    draw = random.Random(seed)
    share, length = 0.1, 2.0
    burst = min(burst, 1 / share)
    levels = (rate * (1 - share * burst) / (1 - share), rate * burst)
    stay = (length * (1 - share) / share, length)
    now, found, level = 0.0, [], 0
    until = draw.expovariate(1 / stay[0])
    while now < seconds:
        step = draw.expovariate(levels[level]) if levels[level] > 0 else math.inf
        if now + step > until:
            now, level = until, 1 - level
            until = now + draw.expovariate(1 / stay[level])
            continue
        now += step
        found.append(now)
    return [instant for instant in found if instant < seconds]


def percentiles(latencies):
    served = sorted(latency for latency in latencies if latency is not None)
    if not served:
        return {"served": 0, "refused": len(latencies)}
    at = lambda share: served[min(len(served) - 1, int(share * len(served)))] * 1e3
    return {"served": len(served), "refused": len(latencies) - len(served), "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99)}


def capacity(texts, service):
    """Texts a second of one thread that always has full batches."""
    mean = statistics.fmean(text.n_tokens for text in texts)
    full = max(1, int(BATCH_TOKENS / statistics.fmean(text.guess for text in texts)))
    return full / service.seconds(full, full * mean)


# ---- what is measured ------------------------------------------------------------------------------------------------------


def post(port, path, document):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(document).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))


def figures(port):
    """The sums and counts of /metrics that say what batches cost."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    names = ("finch_compute_seconds_sum", "finch_compute_seconds_count", "finch_tokens_total", "finch_texts_total")
    return [float(re.search(rf"^{name} (\S+)", text, re.M).group(1)) for name in names]


def cpu_seconds(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def known_texts(port, rows):
    """The first tweets, with the tokens that the server counts."""
    found = []
    for first in range(0, len(rows), 64):
        answers = post(port, "/api/v1/predict", {"texts": rows[first:first + 64]})["data"]
        for row, answer in zip(rows[first:first + 64], answers, strict=True):
            guess = min(TOKENS_MAX, len(row.encode()) // BYTES_A_TOKEN + TOKENS_MIN)
            found.append(Text(json.dumps({"inputs": row, "truncate": True}).encode(), answer["tokens"], guess))
    return found


def measure_batches(port, rows, repeats=30):
    """[(batches, tokens, seconds)], of requests of k tweets each."""
    points = []
    for k in (1, 2, 4, 8, 16, 32):
        before = figures(port)
        for turn in range(repeats):
            first = turn * k % (len(rows) - k)
            post(port, "/api/v1/predict", {"texts": rows[first:first + k]})
        seconds, batches, tokens, _ = (b - a for a, b in zip(before, figures(port), strict=True))
        points.append((batches, tokens, seconds))
    return points


def fit(points):
    """a and b of seconds = a * batches + b * tokens, each point weighed by its own size."""
    sums = [0.0] * 5
    for batches, tokens, seconds in points:
        x, y, z = batches / seconds, tokens / seconds, 1.0
        for i, product in enumerate((x * x, x * y, y * y, x * z, y * z)):
            sums[i] += product
    xx, xy, yy, xz, yz = sums
    determinant = xx * yy - xy * xy
    a, b = (xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant
    if b <= 0:
        raise drive.Failed("a token costs nothing by these measurements: the machine is too busy")
    return max(a, 0.0), b


def measure(args, model, folder, rows):
    side = serve.start_finch(args, model, folder, "--cache", 0, "--http-threads", 1)
    try:
        texts = known_texts(side.port, rows)
        measure_batches(side.port, rows, 3)
        a, b = fit(measure_batches(side.port, rows))
        before, computed, n = cpu_seconds(side.process.pid), figures(side.port)[0], 1000
        for turn in range(n):
            post(side.port, "/predict", {"inputs": rows[turn % len(rows)], "truncate": True})
        request = (cpu_seconds(side.process.pid) - before - (figures(side.port)[0] - computed)) / n
        wire = wire_bytes(side.port, texts)
    finally:
        side.stop()
    return texts, Service(a, b, max(request, 0.0)), wire


def wire_bytes(port, texts):
    """Of a request and its answer, headers included, on a connection that is kept."""
    import socket
    sent = received = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for text in texts[:200]:
            request = request_bytes(port, text.body)
            connection.sendall(request)
            answer = b""
            while len(answer) < (whole := answer_size(answer) or len(answer) + 1):
                answer += connection.recv(65536)
            sent, received = sent + len(request), received + whole
    return {"request": sent / len(texts[:200]), "answer": received / len(texts[:200])}


def store_budget(model, rows=10000):
    """Of the history in SQLite: seconds and bytes of the scored sample's import."""
    with tempfile.TemporaryDirectory() as folder:
        scored, state = pathlib.Path(folder) / "scored.parquet", pathlib.Path(folder) / "history.sqlite"
        drive.finch(None, "score", "--model", model, "--input", benchlib.ROOT / "data" / "sample" / "tweets.parquet", "--limit", rows, "--output", scored)
        begin = time.monotonic()
        drive.finch(None, "history", "import", "--input", scored, "--model", "bench@1", "--state", state)
        seconds = time.monotonic() - begin
        size = sum(file.stat().st_size for file in pathlib.Path(folder).glob("history.sqlite*"))
    return {"rows": rows, "rows_per_second": rows / seconds, "bytes_a_row": size / rows}


# ---- the real run ----------------------------------------------------------------------------------------------------------


def request_bytes(port, body):
    return (b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (port, len(body), body))


def answer_size(data):
    """Bytes of the answer whose beginning data is; None where its head is not whole yet."""
    head = data.find(b"\r\n\r\n")
    return None if head < 0 else head + 4 + int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", data[:head]).group(1))


class Connection(asyncio.Protocol):
    """One kept connection; `answer` is called at the end of each answer's body."""

    def __init__(self):
        self.data, self.need, self.answer = b"", None, None

    def connection_made(self, transport):
        self.transport = transport

    def send(self, port, body, answer):
        self.answer = answer
        self.transport.write(request_bytes(port, body))

    def data_received(self, data):
        self.data += data
        if self.need is None:
            self.need = answer_size(self.data)
        if self.need is not None and len(self.data) >= self.need:
            self.ok = self.data.startswith(b"HTTP/1.1 200")
            self.data, self.need = self.data[self.need:], None
            self.answer(self)


async def send_all(arrivals, texts, ports):
    """Open loop: each request leaves at its instant, whatever the answers do; latencies from that instant."""
    loop = asyncio.get_running_loop()
    free, latencies, left = {port: [] for port in ports}, [None] * len(arrivals), len(arrivals)
    done = loop.create_future()
    begin = loop.time() + 0.2

    def arrived(index, port, connection):
        nonlocal left
        if connection.ok:
            latencies[index] = loop.time() - begin - arrivals[index]
        free[port].append(connection)
        left -= 1
        if left == 0 and not done.done():
            done.set_result(None)

    async def one(index):
        port = ports[index % len(ports)]
        connection = free[port].pop() if free[port] else (await loop.create_connection(Connection, "127.0.0.1", port))[1]
        connection.send(port, texts[index % len(texts)].body, lambda c: arrived(index, port, c))

    tasks = set()
    for index, instant in enumerate(arrivals):
        wait = begin + instant - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        task = loop.create_task(one(index))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.wait_for(done, 120)
    return latencies


def real_run(arrivals, texts, ports):
    """Latencies, and the CPU seconds that the generator itself took for a request: they are counted in, for it shares the cores."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    latencies = asyncio.run(send_all(arrivals, texts, ports))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return latencies, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(arrivals)


def validate(args, model, folder, texts, service):
    """Two processes of one compute thread on two cores, at shares of the capacity."""
    found = []
    with contextlib.ExitStack() as stack:
        sides = [serve.start_finch(args, model, folder, "--cache", 0, "--http-threads", 1) for _ in range(2)]
        for side in sides:
            stack.callback(side.stop)
        ports = [side.port for side in sides]
        _, generator = real_run(arrive(50, 3), texts, ports)
        whole = Service(service.batch, service.token, service.request + generator)
        for share, burst in ((0.3, 1), (0.6, 1), (0.8, 1), (0.5, 3)):
            rate = share * 2 * capacity(texts, whole)
            arrivals = arrive(rate, args.seconds, burst, seed=int(share * 100))
            measured, generator = real_run(arrivals, texts, ports)
            whole = Service(service.batch, service.token, service.request + generator)
            predicted, load = simulate(arrivals, texts, 2, 1, whole)
            ours, theirs = percentiles(predicted), percentiles(measured)
            ratios = {name: ours[name] / theirs[name] for name in ("p50_ms", "p90_ms", "p99_ms")}
            found.append({"share_of_capacity": share, "burst": burst, "requests_per_second": rate, "simulated": {**ours, **load}, "measured": theirs,
                          "simulated_over_measured": ratios, "generator_ms_a_request": generator * 1e3})
            benchlib.note(f"  {share:.0%} of capacity, bursts {burst}: p50 {ours['p50_ms']:.1f} simulated, {theirs['p50_ms']:.1f} ms measured; "
                          f"p99 {ours['p99_ms']:.1f}, {theirs['p99_ms']:.1f}")
    return found


# ---- the plan --------------------------------------------------------------------------------------------------------------


def fits(args, rate, replicas, texts, service):
    arrivals = arrive(rate, args.plan_seconds, args.burst)
    latencies, load = simulate(arrivals, texts, replicas, 1, service)
    found = {**percentiles(latencies), **load}
    return found["refused"] == 0 and found.get("p99_ms", math.inf) <= args.p99_ms, found


def fewest(args, rate, texts, service):
    """The fewest replicas that hold the 99th percentile: doubled until it holds, then halved in between."""
    low, high = 0, max(1, math.ceil(rate / capacity(texts, service)))
    while not (answer := fits(args, rate, high, texts, service))[0]:
        if high > rate + 1000:
            raise drive.Failed(f"no number of replicas holds {args.p99_ms} ms: one text alone takes longer")
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        tried = fits(args, rate, middle, texts, service)
        if tried[0]:
            high, answer = middle, tried
        else:
            low = middle
    return {"requests_per_second": rate, "replicas_of_one_core": high, **answer[1], "dollars_a_million": high * args.core_hour / 3600 / rate * 1e6}


def asked(args):
    """What a million tweets costs when a language model is asked for each, by finch label's own estimate on the sample."""
    with tempfile.TemporaryDirectory() as folder:
        said = drive.finch(None, "label", "--dry-run", "--input", benchlib.ROOT / "data" / "sample" / "tweets.parquet", "--text-column", "body", "--price-in",
                           args.price_in, "--price-out", args.price_out, "--state", pathlib.Path(folder) / "label.sqlite")
    estimate = said["estimate"]
    return {"model": said["model"], "texts": estimate["texts"], "tokens_in_a_text": estimate["input_tokens"] / estimate["texts"],
            "tokens_out_a_text": estimate["output_tokens"] / estimate["texts"], "dollars_a_million": estimate["cost_usd"] / estimate["texts"] * 1e6}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--seconds", type=int, default=20, help="of each run against the real servers")
    options.add_argument("--plan-seconds", type=int, default=120, help="virtual ones, of each simulated load")
    options.add_argument("--rates", type=float, nargs="+", default=[100, 1000, 6000], help="requests a second to plan for")
    options.add_argument("--burst", type=float, default=3, help="how many times the mean rate a burst is")
    options.add_argument("--p99-ms", type=float, default=200)
    options.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour")
    options.add_argument("--price-in", type=float, default=1.25, help="price of a million tokens of questions")
    options.add_argument("--price-out", type=float, default=10.0, help="price of a million tokens of answers")
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--model", default=None, help="what is served (default: the model that ships)")
    args = options.parse_args()
    args.threads = 1
    model = args.model or benchlib.ROOT / "models" / "finch-mini-5"
    rows = [json.loads(line)["body"] for line in pathlib.Path(serve.make_models.tweets(args.rows)).read_text(encoding="utf-8").splitlines()[:args.rows]]
    result = {"what": "simulated replicas", "environment": benchlib.environment(1),
              "assumed": {"dollars_a_core_hour": args.core_hour, "dollars_a_million_tokens_in": args.price_in, "dollars_a_million_tokens_out": args.price_out,
                          "burst": args.burst, "p99_ms": args.p99_ms}}
    with tempfile.TemporaryDirectory() as folder:
        texts, service, wire = measure(args, model, folder, rows)
        result["budgets"] = {"bytes_on_the_wire": wire, "history": store_budget(model)}
        result["service"] = {**dataclasses.asdict(service), "texts_per_second_a_core": capacity(texts, service)}
        benchlib.note(f"a batch {service.batch * 1e3:.2f} ms, a token {service.token * 1e6:.1f} us, a request {service.request * 1e3:.2f} ms; "
                      f"{capacity(texts, service):.0f} texts/s a core")
        result["validation"] = validate(args, model, folder, texts, service)
    result["plan"] = [fewest(args, rate, texts, service) for rate in args.rates]
    result["language_model"] = asked(args)
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
