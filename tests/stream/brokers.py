"""For tests and benches: brokers of the test's own, each in a folder of its own, that can be killed and started again.

    with RedisServer() as broker:
        broker.publish([{"body": "..."}])
        finch("stream", "--broker", broker.url, "--input", broker.input, "--output", broker.output, *broker.words, ...)
        broker.outputs()

Each has the same methods, so that a test is written once for all of them.
"""
import asyncio
import ctypes
import glob
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
    comes_twice = False  # whether outputs may come again under their id, when something dies

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


class KafkaServer:
    """The cluster that librdkafka carries for tests (rdkafka_mock.h), out of the library that Python's client brings: it speaks Kafka's
    protocol on ports of 127.0.0.1, keeps up to 5 MB a partition in memory, and fails on demand. Killing it means that no broker answers."""
    input, output, dead = "tweets", "scored", "tweets.dead"
    words = ["--ack-wait-s", "3"]  # the cluster lets a group that changes wait for nearly so long
    comes_twice = True
    PARTITIONS, BROKERS = 4, 2
    ANSWER = 60

    def __init__(self):
        with open(PROGRAM, "rb") as program:
            if b"librdkafka.so" not in program.read():
                raise unittest.SkipTest("finch was built without Kafka (Debian: librdkafka-dev)")
        import confluent_kafka
        self.kafka = confluent_kafka
        self.rdkafka = self._load()
        why = ctypes.create_string_buffer(512)
        self.handle = self.rdkafka.rd_kafka_new(0, None, why, 512)
        self.cluster = self.rdkafka.rd_kafka_mock_cluster_new(self.handle, self.BROKERS)
        self._do("group_initial_rebalance_delay_ms", 200)
        for topic in (self.input, self.output, self.dead):
            self._do("topic_create", topic.encode(), self.PARTITIONS, 1)
        self.servers = self.rdkafka.rd_kafka_mock_cluster_bootstraps(self.cluster).decode()
        self.order = {}  # of what was published, by its id
        self.producer = self.kafka.Producer({"bootstrap.servers": self.servers, "linger.ms": 5})
        self.reader = self._consumer("nobody")

    def _load(self):
        folder = os.path.join(os.path.dirname(os.path.dirname(self.kafka.__file__)), "confluent_kafka.libs")
        library = ctypes.CDLL(glob.glob(os.path.join(folder, "librdkafka-*.so*"))[0])
        for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(library, name).restype = ctypes.c_void_p
        library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        return library

    def _do(self, what, *words):
        """rd_kafka_mock_WHAT(cluster, words...)"""
        getattr(self.rdkafka, "rd_kafka_mock_" + what)(ctypes.c_void_p(self.cluster), *words)

    def fail(self, request, error, times):
        """The next requests of this kind (Kafka's number of it) get this error."""
        self._do("push_request_errors_array", ctypes.c_int16(request), ctypes.c_size_t(times), (ctypes.c_int * times)(*[error] * times))

    def heal(self, request):
        self._do("clear_request_errors", ctypes.c_int16(request))

    def lead(self, topic, partition, broker):
        self._do("partition_set_leader", topic.encode(), ctypes.c_int32(partition), ctypes.c_int32(broker))

    def coordinate(self, group, broker):
        self._do("coordinator_set", b"group", group.encode(), ctypes.c_int32(broker))

    def kill(self):
        self._do("broker_set_down", ctypes.c_int32(-1))

    def start(self):
        self._do("broker_set_up", ctypes.c_int32(-1))

    def close(self):
        self.reader.close()
        self._do("cluster_destroy")
        self.rdkafka.rd_kafka_destroy(ctypes.c_void_p(self.handle))

    def _consumer(self, group):
        return self.kafka.Consumer({"bootstrap.servers": self.servers, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"kafka://{self.servers.split(',')[0]}"

    def publish(self, rows):
        made = [None] * len(rows)

        def keep(i):
            def delivered(error, message):
                if error is not None:
                    raise AssertionError(error)
                made[i] = f"{message.topic()}/{message.partition()}/{message.offset()}"
            return delivered
        for i, row in enumerate(rows):
            self.producer.produce(self.input, row if isinstance(row, bytes) else json.dumps(row).encode(), on_delivery=keep(i),
                                  partition=(len(self.order) + i) % self.PARTITIONS)
            if i % 1000 == 999:
                self.producer.poll(0)
        self.producer.flush(self.ANSWER)
        for id in made:
            self.order[id] = len(self.order)
        return made

    def _partitions(self, topic):
        return [self.kafka.TopicPartition(topic, i) for i in range(self.PARTITIONS)]

    def _ends(self, topic):
        return [self._end(partition) for partition in self._partitions(topic)]

    def _end(self, partition):
        until = time.monotonic() + self.ANSWER
        while True:
            try:
                return self.reader.get_watermark_offsets(partition, timeout=self.ANSWER)[1]
            except self.kafka.KafkaException:  # the leader changes
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def _messages(self, topic):
        """All of a topic, as their inputs were published; each with its error, key, value and headers."""
        ends, found = self._ends(topic), []
        self.reader.assign([self.kafka.TopicPartition(topic, i, 0) for i, end in enumerate(ends) if end > 0])
        while len(found) < sum(ends):
            some = self.reader.consume(min(500, sum(ends) - len(found)), timeout=self.ANSWER)
            if not some:
                raise AssertionError(f"{len(found)} of {sum(ends)} messages of {topic} came")
            found += some
        self.reader.unassign()
        return sorted(found, key=lambda message: self.order.get(message.key().decode().rsplit("@", 1)[0], -1) if message.key() else 0)

    def outputs(self):
        return [(message.key().decode(), json.loads(message.value())) for message in self._messages(self.output)]

    def n_outputs(self):
        return sum(self._ends(self.output))

    def output_times(self):
        return {message.key().decode(): message.timestamp()[1] / 1000 for message in self._messages(self.output)}

    def input_times(self):
        return {f"{message.topic()}/{message.partition()}/{message.offset()}": message.timestamp()[1] / 1000 for message in self._messages(self.input)}

    def dead_letters(self):
        headers = [(message, dict(message.headers())) for message in self._messages(self.dead)]
        return [(message.key().decode(), message.value(), of["finch-reason"].decode(), int(of["finch-deliveries"])) for message, of in headers]

    def committed(self, group="finch"):
        """[(offset, how often the message there was read)] of the partitions of the input."""
        consumer = self._consumer(group)
        try:
            places = consumer.committed(self._partitions(self.input), timeout=self.ANSWER)
        finally:
            consumer.close()
        return [(max(place.offset, 0), int((place.metadata or "finch:0").split(":")[1])) for place in places]

    def pending(self, group="finch"):
        """Partitions whose first message that is not acknowledged was read."""
        return sum(offset < end and times > 0 for (offset, times), end in zip(self.committed(group), self._ends(self.input)))

    def members(self, group="finch"):
        """The cluster does not describe groups."""
        return []

    def deliver_in_vain(self, times, group="finch"):
        """As members leave it that read the first message of each partition so many times and died."""
        consumer = self._consumer(group)
        places = [self.kafka.TopicPartition(self.input, i, 0, f"finch:{times}") for i in range(self.PARTITIONS)]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()
