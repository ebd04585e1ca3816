"""finch stream and Redis Streams, on a redis-server of the test's own."""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from brokers import TINY, RedisServer  # noqa: E402
from finch_cli import finch  # noqa: E402
from stream_cases import StreamCases, tweets  # noqa: E402


class Redis(StreamCases, unittest.TestCase):
    server = RedisServer

    def test_fields_without_data_are_the_object(self):
        self.broker.client.xadd("tweets", {"body": "$TSLA \"up\" \\ \n", "user": "\u00e9"})
        self.broker.client.xadd("tweets", {"body": b"\xff"})
        self.run_until_empty()
        (_, row), = self.broker.outputs()
        self.assertEqual((row["body"], row["user"]), ("$TSLA \"up\" \\ \n", "\u00e9"))
        (_, data, reason, _), = self.broker.dead_letters()
        self.assertEqual(data, b"{\"body\":\"\xff\"}")
        self.assertIn("not UTF-8", reason)

    def test_a_key_of_another_type_is_said(self):
        self.broker.client.set("tweets", "x")
        done = finch(*self.words())
        self.assertEqual(done.returncode, 1)
        self.assertIn("WRONGTYPE", done.stderr)

    def test_a_password_and_a_database(self):
        self.broker.client.config_set("requirepass", "s3cret")
        self.broker.client = self.broker.redis.Redis(port=self.broker.port, password="s3cret", db=3)
        self.broker.publish(tweets(2))
        open_url = f"redis://:s3cret@127.0.0.1:{self.broker.port}/3"
        words = [word for word in self.words("--until-empty") if word not in ("--broker", self.broker.url)]
        done = finch(*words, env={"FINCH_BROKER": open_url})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.broker.n_outputs(), 2)
        self.assertNotIn("s3cret", done.stderr)
        done = finch(*words, "--broker", open_url)
        self.assertEqual(done.returncode, 2)
        self.assertIn("FINCH_BROKER", done.stderr)
        self.assertNotIn("s3cret", done.stderr)
        done = finch(*words, env={"FINCH_BROKER": open_url.replace("s3cret", "wr0ng")})
        self.assertEqual(done.returncode, 1)
        self.assertIn("WRONGPASS", done.stderr)
        self.assertNotIn("wr0ng", done.stderr)


class Usage(unittest.TestCase):
    def check(self, code, expected, *words, env=None):
        done = finch("stream", "--model", TINY, *words, env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(expected, done.stderr)

    def test_what_is_wrong_is_said(self):
        some = ("--input", "a", "--output", "b")
        redis = ("--broker", "redis://127.0.0.1:1")
        self.check(2, "which broker?", *some)
        self.check(2, "redis://", *some, "--broker", "amqp://127.0.0.1")
        self.check(2, "malformed", *some, "--broker", "redis://a:b:c:d")
        self.check(2, "other streams", "--input", "a", "--output", "a", *redis)
        self.check(2, "other streams", *some, "--dead-letters", "a", *redis)
        self.check(2, "visible ASCII", *some, "--group", "a b", *redis)
        self.check(2, "visible ASCII", *some, "--consumer", "", *redis)
        self.check(2, "two batches", *some, "--batch", "10", "--in-flight", "19", *redis)
        self.check(2, "IPv4", *some, "--metrics-port", "0", "--metrics-host", "nowhere", *redis)
        self.check(4, "127.0.0.1:1 can not be reached", *some, *redis)


if __name__ == "__main__":
    unittest.main()
