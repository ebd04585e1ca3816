"""For tests and benches: brokers of the test's own, each in a folder of its own, that can be killed and started again.

    with RedisServer() as broker:
        broker.publish([{"body": "..."}])
        finch("stream", "--broker", broker.url, "--input", broker.input, "--output", broker.output, *broker.words, ...)
        broker.outputs()

Each has the same methods, so that a test is written once for all of them.
"""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))
TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _Server:
    """A process that listens on self.port; its data stay when it is killed."""
    program = package = None
    words = []  # of finch stream, for this broker
    twice_most = 0  # outputs that may come again under their id, whatever dies

    def __init__(self):
        path = shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")
        if path is None:
            raise unittest.SkipTest(f"there is no {self.program} on this machine (Debian: {self.package})")
        self.path = path
        self.folder = tempfile.mkdtemp(prefix="finch-broker-")
        self.port = _free_port()
        self.process = None
        self.start()

    def start(self):
        log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        log.close()
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    with open(os.path.join(self.folder, "log"), errors="replace") as said:
                        raise AssertionError(f"{self.program} does not listen: {said.read()[-2000:]}") from None
                time.sleep(0.05)
        self.ready()

    def ready(self):
        pass

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RedisServer(_Server):
    program, package = "redis-server", "redis-server"
    input, output, dead = "tweets", "scored", "tweets.dead"

    def __init__(self):
        import redis
        self.redis = redis
        super().__init__()

    def command(self):
        # What was answered is in the file when the process dies; machines never lose power here.
        return [self.path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "no",
                "--dir", self.folder]

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def ready(self):
        self.client = self.redis.Redis(port=self.port, socket_timeout=60)
        until = time.monotonic() + 60
        while True:
            try:
                return self.client.ping()
            except (self.redis.exceptions.BusyLoadingError, self.redis.exceptions.ConnectionError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def close(self):
        self.client.close()
        super().close()

    def publish(self, rows):
        """rows: objects, or bytes that go out as they are. The ids that finch gives them."""
        pipe = self.client.pipeline(transaction=False)
        for row in rows:
            pipe.xadd(self.input, {"data": row if isinstance(row, bytes) else json.dumps(row)})
        return [f"{self.input}/{made.decode()}" for made in pipe.execute()]

    def _entries(self, stream):
        return [{name.decode(): value for name, value in fields.items()} for _, fields in self.client.xrange(stream)]

    def outputs(self):
        """[(id, object)] of what was scored, in the order of the output."""
        return [(entry["id"].decode(), json.loads(entry["data"])) for entry in self._entries(self.output)]

    def n_outputs(self):
        return self.client.xlen(self.output)

    def dead_letters(self):
        """[(id, bytes, reason, deliveries)]"""
        return [(entry["id"].decode(), entry["data"], entry["reason"].decode(), int(entry["deliveries"]))
                for entry in self._entries(self.dead)]

    def pending(self, group="finch"):
        """Messages that were read and not acknowledged."""
        return self.client.xpending(self.input, group)["pending"]

    def members(self, group="finch"):
        return [member["name"].decode() for member in self.client.xinfo_consumers(self.input, group)]

    def deliver_in_vain(self, times, group="finch"):
        """All messages are read by somebody who never acknowledges them, so many times."""
        self.client.xgroup_create(self.input, group, "0", mkstream=True)
        read = self.client.xreadgroup(group, "nobody", {self.input: ">"}, count=100000)
        ids = [entry[0] for entry in read[0][1]]
        for _ in range(times - 1):
            self.client.xclaim(self.input, group, "nobody", 0, ids)
