"""finch serve beside FastAPI + uvicorn (two workers) + ONNX Runtime int8, over loopback, by wrk.

    python bench/serve.py [--cases load one health repeats] [--rounds 5] [--seconds 5]

Both sides serve the same MiniLM in int8 and answer the same POST /predict (text-embeddings-inference's format) with the first tweets of
the StockNet table, each another one, finch without its cache of results. The servers run all the time; rounds alternate, one side idle
while the other is measured. The peer is taken at the better of one and two threads a worker (none spins).

load     32 connections: requests a second and p99; beside, with no goal, the CPU that a request took, which says something on a busy machine too
one      one connection: p50
health   GET /health on one HTTP thread of finch: requests a second (no ratio: a goal in itself)
repeats  32 connections, finch with its cache: every tweet comes again and again, as retweets do (beside, no goal)
"""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import psutil

import benchlib
import drive
import make_models

GOALS = {"load": 5.0, "load_p99": 1.0, "one": 2.0, "health": 20000}
LUA = """
local texts, at = {}, 0
for line in io.lines("TEXTS") do texts[#texts + 1] = line end
request = function()
  at = at % #texts + 1
  return wrk.format("POST", "/predict", {["Content-Type"] = "application/json"}, texts[at])
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.stderr:write(string.format('{"requests":%d,"microseconds":%d,"p50_us":%d,"p99_us":%d,"errors":%d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Side:
    """A server process on a port of its own."""

    def __init__(self, name, command, port, folder, environment=None):
        self.name, self.port = name, port
        self.said = open(os.path.join(folder, f"{name}-{port}.log"), "w+b")
        self.process = subprocess.Popen([str(word) for word in command], stdout=self.said, stderr=self.said, start_new_session=True,
                                        env={**os.environ, **(environment or {})})

    def wait(self, path):
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5).status == 200:
                    return self
            time.sleep(0.1)
        self.said.seek(0)
        raise drive.Failed(f"{self.name} does not answer: {self.said.read()[-2000:]!r}")

    def cpu_ms(self):
        """Milliseconds of CPU of all its processes since the start, threads that have ended included (those of FastAPI's pool do)."""
        one = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in (one, *one.children(recursive=True))]
        return sum(found.user + found.system for found in times) * 1e3

    def rss(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 15)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self.said.close()


def wrk(port, connections, seconds, script=None, path="/predict"):
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    done = subprocess.run([*words, *(["-s", str(script)] if script else []), f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True)
    if done.returncode != 0:
        raise drive.Failed(f"wrk ended with {done.returncode}: {done.stderr[-1000:]}")
    if script is None:
        line = next(line for line in done.stdout.splitlines() if line.startswith("Requests/sec"))
        return {"requests_per_second": float(line.split()[1])}
    found = json.loads(done.stderr.splitlines()[-1])
    if found["errors"] > 0:
        raise drive.Failed(f"{found['errors']} of {found['requests']} requests failed on port {port}")
    return {"requests_per_second": found["requests"] / found["microseconds"] * 1e6, "p50_ms": found["p50_us"] / 1e3,
            "p99_ms": found["p99_us"] / 1e3, "requests": found["requests"]}


def quantized():
    """finch's int8 folder of MiniLM, and (the folder it is made of, the peer's)."""
    made = make_models.ensure("minilm")
    model = made[0].with_name(made[0].name + "-finch-int8")
    shutil.rmtree(model, ignore_errors=True)
    drive.finch(None, "quantize", "--model", made[0], "--output", model)
    return model, made


def requests_of(rows, folder):
    """Bodies of requests, each with another tweet, and wrk's script that sends them one after the other."""
    texts, script = folder / "texts.jsonl", folder / "requests.lua"
    lines = [json.dumps({"inputs": json.loads(line)["body"], "truncate": True}) for line in
             pathlib.Path(make_models.tweets(rows)).read_text(encoding="utf-8").splitlines()[:rows]]
    texts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    script.write_text(LUA.replace("TEXTS", str(texts)), encoding="utf-8")
    return lines, script


def start_finch(args, model, folder, *more):
    port = free_port()
    command = [drive.finch_binary(), "serve", "--port", port, "--model", f"minilm={model}", "--threads", args.threads, "--state", "none",
               "--access-log", "none", *more]
    return Side("finch", command, port, folder).wait("/ready")


def start_peer(model, onnx, folder, threads, spin):
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", drive.PEERS, "serve_peer:app", "--port", port, "--workers", 2, "--log-level", "warning",
               "--no-access-log"]
    environment = {"SERVE_PEER_MODEL": str(onnx / "model-int8.onnx"), "SERVE_PEER_TOKENIZER": str(model / "tokenizer.json"), "SERVE_PEER_THREADS": str(threads), "SERVE_PEER_SPIN": str(spin)}
    return Side("peer", command, port, folder, environment).wait("/health")


def best_peer(model, onnx, folder, script):
    """The fastest of one thread a worker (two workers fill two cores), and two that wait for each other without spinning; each alone."""
    tried = {}
    for threads, spin in ((1, 0), (2, 0)):
        side = start_peer(model, onnx, folder, threads, spin)
        wrk(side.port, 32, 2, script)
        tried[threads, spin] = wrk(side.port, 32, 3, script)["requests_per_second"]
        side.stop()
    best = max(tried, key=tried.get)
    return start_peer(model, onnx, folder, *best), {"threads_a_worker": best[0], "spins": bool(best[1]),
                                                    "tried": {f"{t} threads": rate for (t, _), rate in tried.items()}}


def check_equal(finch, peer, lines):
    """Both sides agree on most, so that the same work is measured. Not on all: they round differently in int8, and the model's head
    is random, so that many tweets are near-ties."""
    different = 0
    for line in lines:
        labels = []
        for side in (finch, peer):
            request = urllib.request.Request(f"http://127.0.0.1:{side.port}/predict", line.encode(), {"Content-Type": "application/json"})
            labels.append(json.load(urllib.request.urlopen(request, timeout=30))[0]["label"])
        different += labels[0] != labels[1]
    if different > len(lines) * 0.25:
        raise drive.Failed(f"the sides give {different} of {len(lines)} tweets another label")
    return different / len(lines)


def in_turns(args, finch, peer, connections, script):
    ours, theirs = [], []
    for turn in range(args.rounds):
        for side, found in ((finch, ours), (peer, theirs)):
            before = side.cpu_ms()
            found.append(wrk(side.port, connections, args.seconds, script))
            found[-1]["cpu_ms"] = (side.cpu_ms() - before) / found[-1]["requests"]
        benchlib.note(f"  round {turn + 1}: finch {ours[-1]['requests_per_second']:.0f}/s p50 {ours[-1]['p50_ms']:.2f} p99 {ours[-1]['p99_ms']:.1f} ms, "
                      f"peer {theirs[-1]['requests_per_second']:.0f}/s p50 {theirs[-1]['p50_ms']:.2f} p99 {theirs[-1]['p99_ms']:.1f} ms; "
                      f"CPU a request {ours[-1]['cpu_ms']:.2f} and {theirs[-1]['cpu_ms']:.2f} ms")
    return ours, theirs


def load(args, sides):
    ours, theirs = in_turns(args, sides["finch"], sides["peer"], 32, sides["script"])
    return {"rate": drive.compare(args.rounds, ours, theirs, "requests_per_second", GOALS["load"]),
            "p99": drive.compare(args.rounds, ours, theirs, "p99_ms", GOALS["load_p99"], higher_is_better=False),
            "cpu": drive.compare(args.rounds, ours, theirs, "cpu_ms", 0, higher_is_better=False)}


def one(args, sides):
    ours, theirs = in_turns(args, sides["finch"], sides["peer"], 1, sides["script"])
    return {"p50": drive.compare(args.rounds, ours, theirs, "p50_ms", GOALS["one"], higher_is_better=False)}


def health(args, sides):
    side = start_finch(args, sides["model"], sides["folder"], "--http-threads", 1)
    rates = [wrk(side.port, 32, args.seconds, path="/health")["requests_per_second"] for _ in range(args.rounds)]
    side.stop()
    found = benchlib.spread(rates)
    return {"requests_per_second": found, "goal": GOALS["health"], "reached": found["median"] >= GOALS["health"]}


def repeats(args, sides):
    side = start_finch(args, sides["model"], sides["folder"])
    wrk(side.port, 32, args.seconds, sides["script"])
    ours, theirs = in_turns(args, side, sides["peer"], 32, sides["script"])
    side.stop()
    return {"rate": drive.compare(args.rounds, ours, theirs, "requests_per_second", 0)}


CASES = {"load": load, "one": one, "health": health, "repeats": repeats}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=5, help="of each measurement")
    options.add_argument("--rows", type=int, default=4000)
    args = options.parse_args()
    if shutil.which("wrk") is None:
        raise drive.Failed("wrk is missing; run: tools/setup.sh test")
    model, (folder, onnx) = quantized()
    result = {"what": "serving", "environment": benchlib.environment(args.threads), "cases": {}}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        lines, script = requests_of(args.rows, pathlib.Path(temporary))
        finch = start_finch(args, model, temporary, "--cache", 0)
        stack.callback(finch.stop)
        peer, result["peer"] = best_peer(folder, onnx, temporary, script)
        stack.callback(peer.stop)
        result["labels_differ"] = check_equal(finch, peer, lines[:100])
        sides = {"finch": finch, "peer": peer, "script": script, "model": model, "folder": temporary}
        for side in (finch, peer):
            wrk(side.port, 32, 2, script)
        for name in args.cases:
            benchlib.note(name)
            result["cases"][name] = CASES[name](args, sides)
        benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
