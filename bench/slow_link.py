"""Two machines on one: network namespaces joined by a wire of 1 Gbit/s each way on which a round trip takes 1 ms, and mpirun across it.

    with SlowLink() as link:
        subprocess.run([*link.mpirun, "-n", "2", ...])

Each namespace has a host name of its own and a TUN device; peers/slow_link.c carries the packets between them and holds each for half a
millisecond, and tc's tbf on both devices keeps to the rate. So no netem is needed, which many kernels lack. The second machine's processes
are started by Open MPI's own daemon through a "remote shell" that enters the namespace; nothing of shared memory is in reach, since the names
of the machines differ. Needs root, /dev/net/tun, iproute2 and a C compiler. Packets have 9,000 bytes as between the machines of a cluster, and
the carrying takes CPU that a network card would not: `relay_cpu_seconds` tells how much.
"""
import os
import pathlib
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time

import benchlib

GBIT, DELAY_US, PACKET_BYTES = 1, 500, 9000
NAMES, ADDRESSES = ("finch-link-a", "finch-link-b"), ("10.73.0.1", "10.73.0.2")


class NoLink(Exception):
    """No slow link can be made here."""


def _run(*words):
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as why:
        raise NoLink(f"{words[0]}: {why}") from None
    if done.returncode != 0:
        raise NoLink(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class SlowLink:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="finch-link-")
        self.relay, self.made = None, []
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self):
        program = f"{self.folder}/slow_link"
        _run(os.environ.get("CC", "cc"), "-O2", "-o", program, str(benchlib.ROOT / "bench" / "peers" / "slow_link.c"))
        for name in NAMES:
            _run("ip", "netns", "add", name)
            self.made.append(name)
        self.relay = subprocess.Popen([program, *NAMES, str(DELAY_US)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.relay.stdout.readline().strip() != "ready":
            raise NoLink(self.relay.communicate()[1].strip())
        for name, own, other in zip(NAMES, ADDRESSES, reversed(ADDRESSES)):
            for words in (("link", "set", "lo", "up"), ("addr", "add", own, "peer", other, "dev", "wire"), ("link", "set", "wire", "mtu", str(PACKET_BYTES), "up")):
                _run("ip", "-n", name, *words)
            _run("tc", "-n", name, "qdisc", "add", "dev", "wire", "root", "tbf", "rate", f"{GBIT}gbit", "burst", "256kb", "latency", "50ms")
        self.shell = pathlib.Path(self.folder) / "shell"
        # What mpirun calls as it would call ssh: the host, then the command's words.
        self.shell.write_text(f"#!/bin/sh\nshift\nexec ip netns exec {NAMES[1]} unshare --uts sh -c 'hostname {NAMES[1]}; exec sh -c \"$0\"' \"$*\"\n", encoding="ascii")
        self.shell.chmod(self.shell.stat().st_mode | stat.S_IXUSR)

    @property
    def mpirun(self):
        """One rank on each side; the first words of the command."""
        def only(what):
            return ["--mca", f"{what}_if_include", "wire"]
        return ["ip", "netns", "exec", NAMES[0], "unshare", "--uts", "sh", "-c", f'hostname {NAMES[0]}; exec "$@"', "sh", "mpirun", "-H", ",".join(f"{address}:1" for address in ADDRESSES),
                "--mca", "plm_rsh_agent", str(self.shell), *only("oob_tcp"), *only("btl_tcp"), "--bind-to", "none", "-n", "2"]

    def measure(self):
        """What the wire does: the median round trip of a byte, and the rate of 64 MB, over TCP."""
        pair = [subprocess.Popen(["ip", "netns", "exec", name, sys.executable, __file__, role], stdout=subprocess.PIPE, text=True) for name, role in zip(NAMES, ("listen", "call"))]
        said = [process.communicate(timeout=60)[0].split() for process in pair]
        if any(process.returncode != 0 for process in pair):
            raise NoLink("nothing goes over the wire")
        return {"round_trip_ms": float(said[1][0]), "gbit_per_second": float(said[1][1]), "packet_bytes": PACKET_BYTES}

    def close(self):
        """What the relay says at its end."""
        said = {}
        if self.relay is not None:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            output, _ = self.relay.communicate()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.relay = None
            if len(output.split()) == 2:
                said = dict(zip(("packets", "packets_dropped"), map(int, output.split())))
                said["relay_cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        while self.made:
            subprocess.run(["ip", "netns", "del", self.made.pop()], capture_output=True, check=False)
        shutil.rmtree(self.folder, True)
        return said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- the two ends of the measuring ----

PORT, ROUND_TRIPS, BYTES = 7373, 50, 64 << 20


def listen():
    with socket.create_server((ADDRESSES[0], PORT)) as server:
        link, _ = server.accept()
        for _ in range(ROUND_TRIPS):
            link.sendall(link.recv(1))
        left = BYTES
        while left > 0:
            left -= len(link.recv(1 << 20))
        link.sendall(b"!")


def call():
    for attempt in range(100):
        try:
            link = socket.create_connection((ADDRESSES[0], PORT), timeout=20)
            break
        except OSError:
            time.sleep(0.05)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    trips = []
    for _ in range(ROUND_TRIPS):
        begin = time.perf_counter()
        link.sendall(b"?")
        link.recv(1)
        trips.append((time.perf_counter() - begin) * 1000)
    load = bytes(BYTES)
    begin = time.perf_counter()
    link.sendall(load)
    link.recv(1)
    print(sorted(trips)[len(trips) // 2], BYTES * 8 / (time.perf_counter() - begin) / 1e9)


if __name__ == "__main__":
    {"listen": listen, "call": call}[sys.argv[1]]()
