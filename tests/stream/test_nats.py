"""finch stream and NATS JetStream, on a nats-server of the test's own."""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from brokers import TINY, NatsServer  # noqa: E402
from finch_cli import finch  # noqa: E402
from stream_cases import StreamCases, tweets  # noqa: E402


class Nats(StreamCases, unittest.TestCase):
    server = NatsServer

    def check_refused(self, code, expected, *words):
        done = finch(*self.words(*words))
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(expected, done.stderr)

    def test_a_stream_that_is_missing_is_said(self):
        self.check_refused(1, "no stream for the subject tweets.scored", "--no-create")

    def test_what_no_consumer_can_be_called_is_said(self):
        self.check_refused(2, "none of . * > /", "--group", "a.b")
        self.check_refused(2, "wildcards", "--output", "tweets.>")

    def test_published_twice_is_there_once(self):
        """The outputs of a member that died between publishing and acknowledging: the stream knows their ids."""
        rows = tweets(50)
        ids = self.broker.publish(rows)
        self.run_until_empty()
        report = self.run_until_empty("--group", "another")
        self.assertEqual(report["scored"], 50)
        self.check_outputs(rows, ids)

    def test_an_answer_past_the_servers_limit_is_a_dead_letter(self):
        row = {"body": "x", "more": "y" * (1048576 - 2100)}
        self.broker.publish([row])
        report = self.run_until_empty("--max-message-bytes", "2000000")
        self.assertEqual((report["scored"], report["dead_letters"]), (0, 1))
        self.assertIn("the broker takes", self.broker.dead_letters()[0][2])


if __name__ == "__main__":
    unittest.main()
