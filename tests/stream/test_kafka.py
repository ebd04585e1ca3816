"""finch stream and Kafka, on librdkafka's stand-in for a cluster (brokers.py): no broker of the Apache project is among the packages
that finch is tested with."""
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from brokers import TINY, KafkaServer  # noqa: E402
from finch_cli import finch  # noqa: E402
from stream_cases import StreamCases, tweets  # noqa: E402

PRODUCE, FETCH, OFFSET_COMMIT, JOIN_GROUP, HEARTBEAT = 0, 1, 8, 11, 12  # requests, by Kafka's numbers
NOT_LEADER, TIMED_OUT, COORDINATOR_GONE, NOT_COORDINATOR, REBALANCING, TOO_LARGE = 6, 7, 15, 16, 27, 10  # errors, by the same


class Kafka(StreamCases, unittest.TestCase):
    server = KafkaServer

    def test_a_message_that_comes_too_often_is_a_dead_letter(self):
        """It is known of the first message of a partition that is not acknowledged; those behind it are read one at a time."""
        rows = tweets(9)
        ids = self.broker.publish(rows)
        self.broker.deliver_in_vain(3)
        report = self.run_until_empty("--max-deliveries", "3")
        self.assertEqual((report["scored"], report["dead_letters"]), (5, 4))
        for (id, data, reason, deliveries), first, row in zip(self.broker.dead_letters(), ids, rows):
            self.assertEqual((id.rsplit("@", 1)[0], json.loads(data), deliveries), (first, row, 4))
            self.assertIn("delivered 4 times", reason)
        self.check_outputs(rows[4:], ids[4:])

    def test_deaths_are_counted_in_the_committed_offsets(self):
        rows = tweets(12)
        ids = self.broker.publish(rows)
        self.broker.fail(PRODUCE, TIMED_OUT, 1000)
        for times in (1, 2, 3):
            member = self.begin("--ack-wait-s", "1")
            self.wait(lambda: self.broker.committed() == [(0, times)] * 4, f"the {times}. reading was not written down: {self.broker.committed()}")
            member.kill()
            member.communicate()
        self.broker.heal(PRODUCE)
        report = self.run_until_empty("--max-deliveries", "3", "--ack-wait-s", "1")
        self.assertEqual((report["dead_letters"], report["scored"], report["redelivered"]), (4, 8, 4))
        self.check_outputs(rows[4:], ids[4:])
        self.assertEqual(self.broker.committed(), [(3, 0)] * 4)

    def test_members_that_come_and_go_lose_nothing(self):
        """That they make nothing twice is not held here: in this cluster a member's session may end while it waits for the group."""
        words = ("--batch", "16", "--in-flight", "64")
        first, rows, ids = self.begin(*words), [], []

        def more(what):
            for _ in range(20):
                rows.extend(tweets(50, len(rows)))
                ids.extend(self.broker.publish(rows[-50:]))
            self.wait(lambda: self.broker.n_outputs() >= len(rows), f"{what}: {self.broker.n_outputs()} of {len(rows)} were scored")
        more("one member")
        second = self.begin(*words)
        more("a second one joins")
        self.finish(first)
        more("the first one left")
        self.finish(second)
        self.run_until_empty()  # what came twice counted as an output above
        self.check_outputs(rows, ids)
        self.assertEqual(self.broker.pending(), 0)

    def test_what_passes_is_tried_again(self):
        rows = tweets(800)
        ids = self.broker.publish(rows[:200])
        running = self.begin("--batch", "16", "--in-flight", "32")
        self.wait(lambda: self.broker.n_outputs() == 200, "nothing was scored")
        for request, error in ((PRODUCE, NOT_LEADER), (PRODUCE, TIMED_OUT), (FETCH, NOT_LEADER), (OFFSET_COMMIT, REBALANCING), (OFFSET_COMMIT, NOT_COORDINATOR),
                               (OFFSET_COMMIT, COORDINATOR_GONE)):
            self.broker.fail(request, error, 2)
        ids += self.broker.publish(rows[200:400])
        self.wait(lambda: self.broker.n_outputs() >= 400, "not all were scored behind errors")
        for partition in range(4):
            self.broker.lead("tweets", partition, 1 + partition % 2)
            self.broker.lead("scored", partition, 2 - partition % 2)
        ids += self.broker.publish(rows[400:600])
        self.wait(lambda: self.broker.n_outputs() >= 600, "not all were scored behind a change of leaders")
        self.broker.coordinate("finch", 1)
        self.broker.coordinate("finch", 2)
        ids += self.broker.publish(rows[600:])
        self.wait(lambda: self.broker.n_outputs() >= 800, "not all were scored behind a change of coordinators")
        self.finish(running)
        self.check_outputs(rows, ids)
        self.assertEqual([offset for offset, _ in self.broker.committed()], [200] * 4)

    def test_what_the_broker_refuses_for_good_is_said(self):
        self.broker.publish(tweets(4))
        self.broker.fail(PRODUCE, TOO_LARGE, 1000)
        self.check_refused(1, "max.message.bytes")

    def test_a_group_that_begins_with_what_is_new(self):
        self.broker.publish(tweets(40))
        self.assertEqual(self.run_until_empty("--from", "new")["read"], 0)
        rows = tweets(20, 40)
        ids = self.broker.publish(rows)
        self.assertGreaterEqual(self.run_until_empty("--from", "new")["read"], 20, "a second member began behind what came in between")
        self.check_outputs(rows, ids)

    def check_refused(self, code, expected, *words, env=None):
        done = finch(*self.words(*words), env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(expected, done.stderr)
        return done.stderr

    def test_a_topic_that_is_missing_is_said_or_made(self):
        self.check_refused(1, "no topic other.scored", "--until-empty", "--output", "other.scored")
        rows = tweets(8)
        ids = self.broker.publish(rows)
        self.run_until_empty("--output", "other.scored", "--create")
        self.broker.output = "other.scored"
        self.check_outputs(rows, ids)

    def test_an_answer_past_the_limit_is_a_dead_letter(self):
        self.broker.publish([{"body": "x", "more": "y" * (1000000 - 2100)}])
        report = self.run_until_empty("--max-message-bytes", "2000000")
        self.assertEqual((report["scored"], report["dead_letters"]), (0, 1))
        self.assertIn("the broker takes", self.broker.dead_letters()[0][2])

    def settings(self, text):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "kafka.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def test_settings_of_the_library(self):
        self.check_refused(2, ":2: group.id is set by finch", "--broker-config", self.settings("# mine\ngroup.id=x\n"))
        self.check_refused(2, ":1: ", "--broker-config", self.settings("no.such.thing = 1"))
        self.check_refused(2, "name=value", "--broker-config", self.settings("linger.ms"))
        said = self.check_refused(2, "security.protocol", "--broker-config", self.settings("\n\n security.protocol = s3cret\n"))
        self.assertNotIn("s3cret", said)
        self.check_refused(1, "nowhere.conf", "--broker-config", "/nowhere.conf")
        rows = tweets(8)
        ids = self.broker.publish(rows)
        self.run_until_empty("--broker-config", self.settings("linger.ms = 1\ncompression.type=lz4\n\n# the end"))
        self.check_outputs(rows, ids)

    def test_a_library_that_is_missing_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "librdkafka.so.1"), "wb"):
                pass
            self.check_refused(1, "needs librdkafka.so.1", env={"LD_LIBRARY_PATH": folder})


class Secure(unittest.TestCase):
    """What a broker with TLS would see: a handshake with a certificate that is checked, then Kafka's first request."""

    def listen(self, folder):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-days", "1",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        server = socket.create_server(("127.0.0.1", 0))
        seen = []

        def serve():
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as link:
                        seen.append(link.recv(4096))
                except OSError as why:
                    seen.append(why)
        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.close)
        self.addCleanup(server.shutdown, socket.SHUT_RDWR)
        return server.getsockname()[1], seen

    def call(self, port, settings, folder, broker=None):
        path = os.path.join(folder, "kafka.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(settings)
        words = ["stream", "--model", TINY, "--input", "a", "--output", "b", "--consumer", "tester", "--broker-config", path]
        return finch(*words, env={"FINCH_BROKER": broker or f"kafka://localhost:{port}"})

    def test_the_certificate_is_checked(self):
        with tempfile.TemporaryDirectory() as folder:
            port, seen = self.listen(folder)
            done = self.call(port, "security.protocol=ssl\n", folder)
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn("certificate", done.stderr)
            self.assertFalse(any(isinstance(one, bytes) and one for one in seen))
            done = self.call(port, f"security.protocol=ssl\nssl.ca.location={folder}/cert.pem\n", folder)
            self.assertEqual(done.returncode, 4, done.stderr)
            requests = [one for one in seen if isinstance(one, bytes) and one]
            self.assertTrue(requests)
            self.assertEqual(requests[0][4:6], b"\x00\x12", "the first request is no ApiVersions")
            self.assertIn(b"tester", requests[0])

    def test_a_password_goes_over_tls_and_is_not_shown(self):
        with tempfile.TemporaryDirectory() as folder:
            port, seen = self.listen(folder)
            done = self.call(port, f"security.protocol=SASL_SSL\nsasl.mechanisms=SCRAM-SHA-512\nssl.ca.location={folder}/cert.pem\n", folder,
                             f"kafka://me:s3cret@localhost:{port}")
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertNotIn("s3cret", done.stderr)
            self.assertTrue(any(isinstance(one, bytes) and one for one in seen))


class Usage(unittest.TestCase):
    def test_what_is_wrong_is_said(self):
        some = ("stream", "--model", TINY, "--input", "a", "--output", "b")
        done = finch(*some, "--broker", "kafka://127.0.0.1:1")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("127.0.0.1:1 can not be reached", done.stderr)
        done = finch(*some, "--broker", "redis://127.0.0.1:1", "--broker-config", "x")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("is for Kafka", done.stderr)


if __name__ == "__main__":
    unittest.main()
