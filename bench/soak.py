"""finch serve under a steady load for a long time: no error, flat memory, p99 within its bound.

    python bench/soak.py [--seconds 600] [--share 0.8] [--connections 32] [--save FILE]

The capacity is measured first (wrk, 32 connections, every tweet of StockNet another one, no cache of results). Then requests are sent at
--share of it, at times that are set beforehand: a server that falls behind is not sent less, and a request's time runs from when it was
due, not from when a connection was free for it (else a stall would hide itself). Memory is read every second; the first fifth of the
run is warming up and not judged.

errors       answers that are none or not 200: must be 0
p99_ms       under 200
memory       resident bytes of the last tenth by those after the warming up: within 2 %
"""
import http.client
import pathlib
import queue
import sys
import tempfile
import threading
import time

import benchlib
import drive
import make_models
import serve

GOALS = {"p99_ms": 200, "memory": 1.02}
WARM_SHARE = 0.2


class Sender(threading.Thread):
    """Sends what is due, over a connection of its own."""

    def __init__(self, port, lines, due):
        super().__init__(daemon=True)
        self.port, self.lines, self.due = port, lines, due
        self.took, self.errors = [], 0

    def run(self):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while (item := self.due.get()) is not None:
            number, at = item
            try:
                link.request("POST", "/predict", self.lines[number % len(self.lines)], {"Content-Type": "application/json"})
                answer = link.getresponse()
                answer.read()
                self.errors += answer.status != 200
            except (OSError, http.client.HTTPException):
                self.errors += 1
                link.close()
            self.took.append((at, time.monotonic() - at))
        link.close()


def steady(side, lines, rate, seconds, n_connections):
    due, memory = queue.SimpleQueue(), []
    senders = [Sender(side.port, lines, due) for _ in range(n_connections)]
    for sender in senders:
        sender.start()
    began, sent, looked = time.monotonic(), 0, 0.0
    while (now := time.monotonic() - began) < seconds:
        while sent < now * rate:
            due.put((sent, began + sent / rate))
            sent += 1
        if now - looked >= 1:
            memory.append((now, side.rss()))
            looked = now
        time.sleep(0.001)
    for _ in senders:
        due.put(None)
    for sender in senders:
        sender.join(60)
    took = sorted(seconds_taken for sender in senders for at, seconds_taken in sender.took if at - began >= WARM_SHARE * seconds)
    return {"requests": sent, "errors": sum(sender.errors for sender in senders), "took": took, "memory": memory}


def judge(args, capacity, found):
    warm = [size for at, size in found["memory"] if WARM_SHARE * args.seconds <= at < (WARM_SHARE + 0.1) * args.seconds]
    last = [size for at, size in found["memory"] if at >= 0.9 * args.seconds]
    took = found["took"]
    memory = (sum(last) / len(last)) / (sum(warm) / len(warm))
    p99 = 1000 * took[int(0.99 * (len(took) - 1))]
    return {"seconds": args.seconds, "capacity": capacity, "asked_a_second": capacity * args.share, "requests": found["requests"],
            "errors": found["errors"], "p50_ms": 1000 * took[len(took) // 2], "p99_ms": p99, "most_ms": 1000 * took[-1], "memory": memory,
            "resident_bytes": last[-1], "goals": GOALS,
            "reached": found["errors"] == 0 and p99 < GOALS["p99_ms"] and memory < GOALS["memory"]}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--seconds", type=int, default=600)
    options.add_argument("--share", type=float, default=0.8)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--rows", type=int, default=4000)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model, _ = serve.quantized()
        lines, script = serve.requests_of(args.rows, pathlib.Path(temporary))
        side = serve.start_finch(args, model, temporary, "--cache", 0)
        try:
            serve.wrk(side.port, args.connections, 3, script)
            capacity = serve.wrk(side.port, args.connections, 10, script)["requests_per_second"]
            benchlib.note(f"capacity {capacity:.0f} requests a second; {args.share:.0%} of it for {args.seconds} s")
            found = steady(side, [line.encode() for line in lines], capacity * args.share, args.seconds, args.connections)
        finally:
            side.stop()
    result = judge(args, capacity, found)
    benchlib.emit({"what": "serving for a long time", "environment": benchlib.environment(args.threads), **result}, args.save)
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
