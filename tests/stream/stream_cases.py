"""finch stream against a real broker: what is promised of a message, whatever dies on its way. The same tests for each broker;
test_redis.py, test_nats.py and test_kafka.py name it."""
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from brokers import PROGRAM, TINY  # noqa: E402
from finch_cli import finch  # noqa: E402

PATIENCE = 120  # seconds for what takes one or two on a quiet machine


def tweets(n, begin=0):
    return [{"tweet_id": 9007199254740993 + i, "body": f"$AAPL beats estimates by {i} %, up we go", "like_num": i} for i in range(begin, begin + n)]


class StreamCases:
    """The tests of one broker: a subclass says which is self.server."""
    server = None

    def setUp(self):
        self.broker = self.server()
        self.addCleanup(self.broker.close)
        self.running = []
        self.addCleanup(self.end_all)

    def end_all(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def words(self, *more):
        return ["stream", "--model", TINY, "--broker", self.broker.url, "--input", self.broker.input, "--output", self.broker.output,
                "--threads", "1", *self.broker.words, *more]

    def run_until_empty(self, *more):
        done = finch(*self.words("--until-empty", "--json", *more), timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def begin(self, *more):
        process = subprocess.Popen([PROGRAM, *self.words("--json", *more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.running.append(process)
        return process

    def finish(self, process, code=0):
        process.send_signal(signal.SIGTERM)
        out, said = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, code, said.decode())
        return json.loads(out) if out else None

    def wait(self, what, told):
        until = time.monotonic() + PATIENCE
        while not what():
            self.assertLess(time.monotonic(), until, told)
            time.sleep(0.02)

    def stop_while_it_holds_something(self, process):
        for _ in range(50):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.2)  # what is under way to the broker arrives
            if self.broker.pending() > 0:
                return
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
        self.fail("the member never held anything; the test shows nothing")

    def check_outputs(self, rows, ids):
        """Each row once, with the id of its message; where the broker may have one twice, with the same answer twice."""
        outputs = self.broker.outputs()
        if self.broker.comes_twice:
            answers = dict(outputs)
            self.assertTrue(all(answers[id] == row for id, row in outputs), "two answers under one id")
            outputs = list(answers.items())
        self.assertEqual(sorted(id.rsplit("@", 1)[0] for id, _ in outputs), sorted(ids))
        self.assertEqual(sorted(row["tweet_id"] for _, row in outputs), sorted(row["tweet_id"] for row in rows))

    def test_answers_are_those_of_finch_score(self):
        rows = tweets(40) + [{"body": None}, {"text": ""}, {"a": 1.0, "body": "plain \u0000 \U0001f680 text " * 60}]
        self.broker.publish(rows)
        report = self.run_until_empty()
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        score = finch("score", "--model", TINY, "--input", "-", "--output", "-", "--quiet", "--threads", "1", stdin=lines)
        self.assertEqual([row for _, row in self.broker.outputs()], [json.loads(line) for line in score.stdout.splitlines()])
        self.assertEqual((report["read"], report["scored"], report["without_text"], report["truncated"]), (43, 41, 2, 1))
        self.assertEqual((self.broker.pending(), self.broker.dead_letters()), (0, []))

    def test_ids_are_the_message_and_the_model(self):
        ids = self.broker.publish(tweets(3))
        report = self.run_until_empty()
        self.assertRegex(report["model_version"], "^w-[0-9a-f]{12}$")
        self.assertEqual([id for id, _ in self.broker.outputs()], [f"{id}@{report['model_version']}" for id in ids])

    def test_what_can_not_be_scored_is_kept_with_its_reason(self):
        bad = [(b"{\"body\":\"x\"", "no valid JSON"), (b"[1]", "no object"), (b"\xff{}", "not UTF-8"), (b"{\"words\":\"x\"}", "no key \"body\""),
               (b"{\"body\":7}", "no text"), (b"{\"body\":\"x\",\"label\":1}", "\"label\" already"), (b"", "no valid JSON"),
               (b"{\"body\":\"" + b"x" * 3000 + b"\"}", "3011 bytes"), (b"[" * 2500, "no valid JSON"), (b"{\"body\":\"x\\\xc3\x87\"}", "no valid JSON")]
        rows = tweets(4)
        ids = self.broker.publish([rows[0], *(data for data, _ in bad), *rows[1:]])
        report = self.run_until_empty("--max-message-bytes", "3000")
        letters = self.broker.dead_letters()
        self.assertEqual([(id.rsplit("@", 1)[0], data) for id, data, _, _ in letters], list(zip(ids[1:-3], (data for data, _ in bad))))
        for (_, _, reason, deliveries), (_, expected) in zip(letters, bad):
            self.assertIn(expected, reason)
            self.assertEqual(deliveries, 1)
        self.assertEqual((report["scored"], report["dead_letters"], self.broker.pending()), (4, len(bad), 0))
        self.check_outputs(rows, [ids[0], *ids[-3:]])

    def test_members_of_a_group_share_and_leave(self):
        rows = tweets(600)
        ids = self.broker.publish(rows)
        members = [self.begin("--batch", "8", "--in-flight", "16", "--max-wait-ms", "0", "--consumer", f"member-{i}", "--until-empty")
                   for i in range(2)]
        reports = []
        for member in members:
            out, said = member.communicate(timeout=PATIENCE)
            self.assertEqual(member.returncode, 0, said.decode())
            reports.append(json.loads(out))
        self.check_outputs(rows, ids)
        self.assertEqual(sum(report["scored"] for report in reports), 600)
        self.assertEqual((self.broker.pending(), self.broker.members()), (0, []))

    def test_sigterm_finishes_what_is_in_flight(self):
        rows = tweets(4000)
        ids = self.broker.publish(rows)
        first = self.begin("--batch", "16", "--in-flight", "64")
        self.wait(lambda: self.broker.n_outputs() > 50, "nothing was scored")
        report = self.finish(first)
        self.assertEqual((report["read"], self.broker.pending()), (report["scored"], 0))
        self.assertEqual(self.broker.n_outputs(), report["scored"])
        self.assertLess(report["scored"], 4000, "it was over before the signal; the test shows nothing")
        self.run_until_empty()
        self.check_outputs(rows, ids)

    def test_what_a_dead_member_held_is_taken_over(self):
        rows = tweets(3000)
        ids = self.broker.publish(rows)
        first = self.begin("--batch", "64", "--in-flight", "256")
        self.wait(lambda: self.broker.n_outputs() > 50, "nothing was scored")
        self.stop_while_it_holds_something(first)
        first.kill()
        report = self.run_until_empty("--ack-wait-s", "1", "--max-deliveries", "100")
        self.assertGreaterEqual(report["redelivered"], 1)
        self.check_outputs(rows, ids)

    def test_who_was_taken_for_dead_publishes_nothing_twice(self):
        rows = tweets(3000)
        ids = self.broker.publish(rows)
        first = self.begin("--batch", "64", "--in-flight", "256", "--ack-wait-s", "1")
        self.wait(lambda: self.broker.n_outputs() > 50, "nothing was scored")
        self.stop_while_it_holds_something(first)
        report = self.run_until_empty("--ack-wait-s", "1", "--max-deliveries", "100")
        self.assertGreaterEqual(report["redelivered"], 1)
        first.send_signal(signal.SIGCONT)
        self.finish(first)
        self.check_outputs(rows, ids)

    def test_a_message_that_comes_too_often_is_a_dead_letter(self):
        rows = tweets(5)
        ids = self.broker.publish(rows)
        self.broker.deliver_in_vain(3)
        report = self.run_until_empty("--max-deliveries", "3", "--ack-wait-s", "1")
        self.assertEqual((report["scored"], report["dead_letters"]), (0, 5))
        for (id, data, reason, deliveries), row in zip(sorted(self.broker.dead_letters()), rows):
            self.assertIn(id.rsplit("@", 1)[0], ids)
            self.assertEqual((json.loads(data), deliveries), (row, 4))
            self.assertIn("delivered 4 times", reason)

    def test_a_broker_that_comes_back_is_used_again(self):
        rows = tweets(400)
        ids = self.broker.publish(rows[:200])
        running = self.begin("--batch", "16", "--in-flight", "32", "--ack-wait-s", "2")
        self.wait(lambda: self.broker.n_outputs() == 200, "the first half was not scored")
        self.broker.kill()
        time.sleep(0.3)
        self.broker.start()
        ids += self.broker.publish(rows[200:])
        self.wait(lambda: self.broker.n_outputs() == 400, "the second half was not scored")
        report = self.finish(running)
        self.assertGreaterEqual(report["lost_connections"], 1)
        self.check_outputs(rows, ids)

    def test_the_end_does_not_need_the_broker(self):
        rows = tweets(20)
        ids = self.broker.publish(rows)
        running = self.begin()
        self.wait(lambda: self.broker.n_outputs() == 20 and self.broker.pending() == 0, "nothing was scored")
        self.broker.kill()
        self.finish(running)  # nothing is in flight, so nothing is lost
        self.broker.start()
        self.run_until_empty("--ack-wait-s", "1")  # NATS may have lost acknowledgements that it had not written yet
        self.check_outputs(rows, ids)

    def test_figures_for_prometheus(self):
        self.broker.publish(tweets(30) + [b"{"])
        running = self.begin("--metrics-port", "0")
        address = b""
        while b"/metrics" not in address:
            address = running.stderr.readline()
            self.assertTrue(address, "the address was not said")
        url = address.split()[-1].decode()
        self.wait(lambda: self.broker.n_outputs() == 30 and self.broker.dead_letters(), "nothing was scored")
        page = ""

        def current():
            nonlocal page
            page = urllib.request.urlopen(url, timeout=10).read().decode()
            return "finch_stream_scored_total 30\n" in page and "finch_stream_lag 0\n" in page and "finch_stream_pending 0\n" in page
        self.wait(current, f"the figures are others: {page}")
        for line in ("finch_stream_dead_letters_total 1", "finch_stream_in_flight 0", "finch_stream_connected 1",
                     "finch_stream_latency_seconds_count 31", "finch_stream_latency_seconds_bucket{le=\"+Inf\"} 31"):
            self.assertIn(line + "\n", page)
        self.assertEqual(urllib.request.urlopen(url.replace("/metrics", "/health"), timeout=10).status, 200)
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(url.replace("/metrics", "/other"), timeout=10)
        self.finish(running)
