"""For tests and benches: brokers of the test's own, each in a folder of its own, that can be killed and started again.

    with RedisServer() as broker:
        broker.publish([{"body": "..."}])
        finch("stream", "--broker", broker.url, "--input", broker.input, "--output", broker.output, *broker.words, ...)
        broker.outputs()

Each has the same methods, so that a test is written once for all of them.
"""
import asyncio
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

    def output_times(self):
        """{id of the output: when the broker took it, in seconds}"""
        return {fields[b"id"].decode(): int(entry.split(b"-")[0]) / 1000 for entry, fields in self.client.xrange(self.output)}

    def input_times(self):
        """{id of the message: when the broker took it}"""
        return {f"{self.input}/{entry.decode()}": int(entry.split(b"-")[0]) / 1000 for entry, _ in self.client.xrange(self.input)}

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


class NatsServer(_Server):
    program, package = "nats-server", "nats-server"
    input, output, dead = "tweets.raw", "tweets.scored", "tweets.raw.dead"
    words = ["--create"]
    CHUNK = 500

    def __init__(self):
        import nats
        import nats.js.errors
        self.nats = nats
        self.loop = asyncio.new_event_loop()
        super().__init__()

    def command(self):
        return [self.path, "-js", "-sd", self.folder, "-a", "127.0.0.1", "-p", str(self.port)]

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def close(self):
        super().close()
        self.loop.close()

    def _with_jetstream(self, work):
        """The result of the coroutine work(js), on a connection of its own."""
        async def run():
            connection = await self.nats.connect(self.url, connect_timeout=30, allow_reconnect=False)
            try:
                return await work(connection.jetstream(timeout=60))
            finally:
                await connection.close()
        return self.loop.run_until_complete(run())

    def ready(self):
        async def make(js):
            await js.add_stream(name="tweets", subjects=[self.input])
        until = time.monotonic() + 60
        while True:
            try:
                return self._with_jetstream(make)
            except self.nats.errors.Error:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def publish(self, rows):
        async def send(js):
            made = []
            for begin in range(0, len(rows), self.CHUNK):
                made += await asyncio.gather(*(js.publish(self.input, row if isinstance(row, bytes) else json.dumps(row).encode())
                                               for row in rows[begin:begin + self.CHUNK]))
            return [f"{ack.stream}/{ack.seq}" for ack in made]
        return self._with_jetstream(send)

    def _messages(self, subject):
        """All messages of the subject's stream, in order."""
        async def read(js):
            try:
                stream = await js.find_stream_name_by_subject(subject)
            except self.nats.js.errors.NotFoundError:
                return []
            n = (await js.stream_info(stream)).state.messages
            pull = await js.pull_subscribe(subject, stream=stream)
            found = []
            while len(found) < n:
                some = await pull.fetch(min(self.CHUNK, n - len(found)), timeout=60)
                for message in some:
                    await message.ack()
                found += some
            return found
        return self._with_jetstream(read)

    def outputs(self):
        return [(message.headers["Nats-Msg-Id"], json.loads(message.data)) for message in self._messages(self.output)]

    def output_times(self):
        return {message.headers["Nats-Msg-Id"]: message.metadata.timestamp.timestamp() for message in self._messages(self.output)}

    def input_times(self):
        return {f"{message.metadata.stream}/{message.metadata.sequence.stream}": message.metadata.timestamp.timestamp()
                for message in self._messages(self.input)}

    def n_outputs(self):
        async def count(js):
            try:
                return (await js.stream_info(await js.find_stream_name_by_subject(self.output))).state.messages
            except self.nats.js.errors.NotFoundError:
                return 0
        return self._with_jetstream(count)

    def dead_letters(self):
        return [(message.headers["Nats-Msg-Id"], message.data, message.headers["Finch-Reason"], int(message.headers["Finch-Deliveries"]))
                for message in self._messages(self.dead)]

    def pending(self, group="finch"):
        async def ask(js):
            return (await js.consumer_info("tweets", group)).num_ack_pending
        return self._with_jetstream(ask)

    def members(self, group="finch"):
        """The members have no names in a pull consumer."""
        return []

    def deliver_in_vain(self, times, group="finch"):
        async def take(js):
            pull = await js.pull_subscribe(self.input, durable=group, config=self.nats.js.api.ConsumerConfig(ack_wait=1))
            for _ in range(times):
                await pull.fetch(self.CHUNK, timeout=30)
                await asyncio.sleep(1.1)
        self._with_jetstream(take)
