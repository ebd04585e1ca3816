"""finch serve under a steady load for a long time: no error, flat memory, p99 within its bound.

    python bench/soak.py [--seconds 600] [--share 0.8] [--connections 32] [--save FILE]

The capacity is measured first (wrk, 32 connections, every tweet of StockNet another one, no cache of results). Then requests are sent at
--share of it, at times that are set beforehand: a server that falls behind is not sent less, and a request's time runs from when it was
due, not from when a connection was free for it (else a stall would hide itself). Memory is read every second; the first fifth of the
run is warming up and not judged. The requests come from one thread of this process, and its share of the CPUs is in the answer: capacity is
what wrk finds, which costs less.

unsent       requests that were due and found no connection free until the end; what they waited is in p99
client_cpu   CPUs that the sending took
errors       answers that are none or not 200: must be 0
p99_ms       under 200
memory       resident bytes of the last tenth by those after the warming up: within 2 %
"""
import collections
import pathlib
import re
import select
import socket
import sys
import tempfile
import time

import benchlib
import drive
import make_models
import serve

GOALS = {"p99_ms": 200, "memory": 1.02}
WARM_SHARE = 0.2


class Connection:
    """A kept connection without a thread of its own: what it costs this machine is taken from the server's share."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due, self.got, self.missing = 0.0, b"", 0

    def send(self, request, due):
        self.due, self.got, self.missing = due, b"", 0
        self.socket.sendall(request)

    def take(self):
        """None: there is more to come; else the answer's status, 0 where the connection was closed before it."""
        piece = self.socket.recv(65536)
        if not piece:
            return 0
        if self.missing:
            self.missing -= len(piece)
        else:
            self.got += piece
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.missing = end + 4 + int(re.search(rb"content-length: (\d+)", self.got[:end].lower()).group(1)) - len(self.got)
        return int(self.got[9:12]) if self.missing <= 0 else None


class Load:
    """Requests at times that are set beforehand, each over the connection that is free the longest."""

    def __init__(self, port, requests, n_connections):
        self.port, self.requests, self.poll = port, requests, select.epoll()
        self.busy, self.free, self.took, self.errors = {}, collections.deque(), [], 0
        for _ in range(n_connections):
            self.open()

    def open(self):
        connection = Connection(self.port)
        self.poll.register(connection.socket, select.EPOLLIN)
        self.free.append(connection)

    def send(self, number, due):
        connection = self.free.popleft()  # all of them in turn
        self.busy[connection.socket.fileno()] = connection
        connection.send(self.requests[number % len(self.requests)], due)

    def take(self, seconds):
        for descriptor, _ in self.poll.poll(seconds):
            connection = self.busy.get(descriptor)
            status = connection.take() if connection is not None else 0
            if status is None:
                continue
            if connection is not None:
                del self.busy[descriptor]
                self.errors += status != 200
                self.took.append((connection.due, time.monotonic() - connection.due))
            if status != 0:
                self.free.append(connection)
                continue
            self.poll.unregister(descriptor)  # closed by the server: while idle that is its right
            self.free = collections.deque(one for one in self.free if one.socket.fileno() != descriptor)
            self.open()

    def close(self):
        for connection in [*self.free, *self.busy.values()]:
            connection.socket.close()
        self.errors += len(self.busy)
        self.poll.close()


def steady(side, requests, rate, seconds, n_connections):
    load, memory = Load(side.port, requests, n_connections), []
    began, sent, looked = time.monotonic(), 0, 0.0
    while (now := time.monotonic() - began) < seconds:
        while load.free and sent < now * rate:
            load.send(sent, began + sent / rate)
            sent += 1
        if now - looked >= 1:
            memory.append((now, side.rss()))
            looked = now
        load.take(max(0.0, (sent + 1) / rate - now) if load.free else 1.0)
    until = time.monotonic() + 30
    while load.busy and time.monotonic() < until:
        load.take(1.0)
    load.close()
    unsent = range(sent, int(seconds * rate))  # they have waited since they were due
    took = sorted([seconds_taken for due, seconds_taken in load.took if due - began >= WARM_SHARE * seconds] + [seconds - number / rate for number in unsent])
    return {"requests": sent, "unsent": len(unsent), "errors": load.errors, "took": took, "memory": memory}


def request_of(line):
    body = line.encode()
    return b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def judge(args, capacity, found):
    warm = [size for at, size in found["memory"] if WARM_SHARE * args.seconds <= at < (WARM_SHARE + 0.1) * args.seconds]
    last = [size for at, size in found["memory"] if at >= 0.9 * args.seconds]
    took = found["took"]
    memory = (sum(last) / len(last)) / (sum(warm) / len(warm))
    p99 = 1000 * took[int(0.99 * (len(took) - 1))]
    return {"seconds": args.seconds, "capacity": capacity, "asked_a_second": capacity * args.share, "requests": found["requests"], "unsent": found["unsent"],
            "errors": found["errors"], "p50_ms": 1000 * took[len(took) // 2], "p99_ms": p99, "most_ms": 1000 * took[-1], "memory": memory,
            "resident_bytes": last[-1], "client_cpu": found["client_cpu"], "goals": GOALS,
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
            cpu = time.process_time()
            found = steady(side, [request_of(line) for line in lines], capacity * args.share, args.seconds, args.connections)
            found["client_cpu"] = (time.process_time() - cpu) / args.seconds
        finally:
            side.stop()
    result = judge(args, capacity, found)
    benchlib.emit({"what": "serving for a long time", "environment": benchlib.environment(args.threads), **result}, args.save)
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
