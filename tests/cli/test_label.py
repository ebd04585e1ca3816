"""finch label from end to end: jobs that go on, pause, end, and what they say. Faults, rates, keys and kills have tests of their own
(tests/label, tests/kill)."""
import collections
import fcntl
import os
import signal
import struct
import subprocess
import termios
import time
import unittest

from label_case import NOISY, LabelCase, fleet, said
from truth import CLASSES, class_of


class Jobs(LabelCase):
    def test_the_same_command_asks_nothing_again_and_neither_does_another_job(self):
        texts, provider = fleet.tweets(300), self.provider()
        source = fleet.write_input(self.folder, texts[:200])
        first = self.label(provider, source)
        before = self.rows()
        again = self.label(provider, source, output="again.csv")
        self.assertEqual((10, first["job"], before), (len(provider.requests()), again["job"], self.rows("again.csv")))
        other = self.label(provider, fleet.write_input(self.folder, texts[100:], "other.csv"), output="others.csv")
        self.assertNotEqual(first["job"], other["job"])
        self.assertEqual(300, sum(provider.asked().values()))
        self.assertEqual((100, 0), (other["run"]["reused"], first["run"]["reused"]))
        self.assertEqual([class_of(text) for text in texts[100:]], [row["label"] for row in self.rows("others.csv")])
        # Another model and another prompt are other questions.
        self.label(provider, source, output="noisy.csv", model=NOISY)
        self.assertEqual([said(NOISY, text) for text in texts[:200]], [row["label"] for row in self.rows("noisy.csv")])
        with open(os.path.join(fleet.HERE, "..", "..", "prompts", "five-class.md"), encoding="utf-8") as prompt, open(self.path("own.md"), "w", encoding="utf-8") as own:
            own.write(prompt.read() + "\nThink of the holder.\n")
        third = self.label(provider, source, "--prompt", self.path("own.md"), output="own.csv")
        self.assertNotEqual(first["prompt"], third["prompt"])
        self.assertEqual(700, sum(provider.asked().values()))

    def test_pause_resume_and_export_on_the_way(self):
        texts, provider = fleet.tweets(1200), self.provider(latency_ms=150)
        source = fleet.write_input(self.folder, texts)
        running = subprocess.Popen(self.words(provider, source, "--job", "night", "--in-flight", 2), env=fleet.environment(provider), stderr=subprocess.PIPE)
        self.addCleanup(running.stderr.close)
        self.addCleanup(running.kill)
        end = time.monotonic() + 60
        while len(provider.answers()) < 100 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual({"job": "night", "state": "paused"}, self.other(provider, "pause", "--job", "night", "--json"))
        self.assertEqual(130, running.wait(timeout=60))
        self.assertIn(b"resume --job night", running.stderr.read())
        status = self.other(provider, "status", "--json")["jobs"][0]
        answered = provider.answers()
        self.assertEqual(("night", "paused", len(answered), 1200 - len(answered), 0), tuple(status[key] for key in ("job", "state", "labelled", "waiting", "leased")))
        self.assertLess(len(answered), 1200)
        self.assertFalse(os.path.exists(self.path("labels.csv")))
        so_far = self.other(provider, "export", "--job", "night", "--output", self.path("so-far.csv"), "--provenance", "--json")
        self.assertEqual(("paused", None, None), (so_far["state"], so_far["estimate"], so_far["run"]))
        for row, text in zip(self.rows("so-far.csv"), texts, strict=True):
            self.assertEqual(class_of(text) if text in answered else "", row["label"])
            self.assertEqual("" if text in answered else "not asked yet", row["label_reason"])
            self.assertEqual("standin/five" if text in answered else "", row["label_model"])
        provider.configure(latency_ms=0)
        done = self.other(provider, "resume", "--job", "night", "--output", self.path("labels.csv"), "--json")
        self.assertEqual(("done", 1200, 0), (done["state"], done["labelled"], done["left"]))
        self.assertEqual(set(), fleet.check_output(self, self.path("labels.csv"), texts))
        fleet.check_paid_once(self, provider, texts)
        self.other(provider, "pause", "--job", "night", status=1)

    def test_an_interrupt_waits_for_what_is_paid_for(self):
        texts, provider = fleet.tweets(1000), self.provider(latency_ms=300)
        source = fleet.write_input(self.folder, texts)
        running = subprocess.Popen(self.words(provider, source, "--in-flight", 4), env=fleet.environment(provider), stderr=subprocess.PIPE)
        self.addCleanup(running.stderr.close)
        self.addCleanup(running.kill)
        end = time.monotonic() + 60
        while len(provider.requests()) < 8 and time.monotonic() < end:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        self.assertEqual(130, running.wait(timeout=60))
        asked = len(provider.requests())
        self.assertLess(asked, 50)
        self.assertEqual(4, provider.most_at_once())
        self.assertEqual(20 * asked, sum(provider.answers().values()))
        status = self.other(provider, "status", "--json")["jobs"][0]
        # What was journalled ahead and never sent is no request.
        self.assertEqual((20 * asked, asked, 0), (status["labelled"], status["requests"], status["failed_requests"]))
        provider.configure(latency_ms=0)
        self.label(provider, source)
        fleet.check_paid_once(self, provider, texts)

    def test_what_was_set_aside_is_asked_again_when_told_to(self):
        texts = fleet.tweets(60)
        provider = self.provider(rules=[{"fault": "refusal", "text": texts[7]}, {"fault": "unknown_class", "text": texts[30], "alone": True},
                                        {"fault": "unknown_class", "text": texts[30]}])
        source = fleet.write_input(self.folder, texts)
        done = self.label(provider, source, "--attempts", 2)
        self.assertEqual({texts[7], texts[30]}, fleet.check_output(self, self.path("labels.csv"), texts) | {texts[30]})
        rows = {row["text"]: row for row in self.rows()}
        self.assertIn("refused", rows[texts[7]]["label_reason"])
        reasons = self.other(provider, "status", "--json")["jobs"][0]["unlabelled_reasons"]
        self.assertEqual(done["unlabelled"], sum(reason["texts"] for reason in reasons))
        asked = sum(provider.asked().values())
        self.label(provider, source, "--attempts", 2)
        self.assertEqual(asked, sum(provider.asked().values()), "set aside is settled: not asked again untold")
        provider.configure(rules=[])
        done = self.label(provider, source, "--retry-unlabelled")
        self.assertEqual((60, 0), (done["labelled"], done["unlabelled"]))
        self.assertEqual(set(), fleet.check_output(self, self.path("labels.csv"), texts))

    def test_a_job_keeps_to_what_it_was_made_for(self):
        texts, provider = fleet.tweets(20), self.provider()
        source = fleet.write_input(self.folder, texts)
        self.label(provider, source, "--job", "one")
        done = fleet.run(self.words(provider, source, "--job", "one", model=NOISY), fleet.environment(provider))
        self.assertEqual(2, done.returncode)
        self.assertIn("another --job", done.stderr)
        self.other(provider, "status", "--job", "none", status=1)
        self.other(provider, "export", "--job", "none", "--output", self.path("x.csv"), status=1)
        self.other(provider, "resume", "--job", "none", "--output", self.path("x.csv"), status=1)


class Endings(LabelCase):
    def ends(self, status, wanted, *more, source=None, env=None, provider=None, output="labels.csv"):
        provider = provider or self.standing
        source = source or self.source
        done = fleet.run(self.words(provider, source, *more, output=output), env or fleet.environment(provider))
        self.assertEqual(status, done.returncode, (more, done.stderr))
        self.assertIn(wanted, done.stderr)
        self.assertFalse(os.path.exists(self.path(output)))

    def test_wrong_usage_and_bad_data_cost_nothing(self):
        provider = self.standing = self.provider()
        self.source = fleet.write_input(self.folder, fleet.tweets(20))
        with open(self.path("bad.md"), "w", encoding="utf-8") as file:
            file.write("Say POSITIVE or NEGATIVE.\n")
        no_key = {**fleet.environment(provider, key=None)}
        self.ends(2, "--price-out", "--price-in", 1)
        self.ends(2, "--votes", "--judge", NOISY)
        self.ends(2, "--gold", "--stop-kappa", 0.5)
        self.ends(2, "--key-env", "--key-env", "NOWHERE", env=no_key)
        self.ends(2, "stdin", source="-")
        self.ends(2, "--batch", "--batch", 0)
        self.ends(3, "NO_COLUMN", "--text-column", "NO_COLUMN")
        self.assertEqual([], self.other(provider, "status", "--json")["jobs"], "a mistake left a job behind")
        self.ends(3, "STRONGLY_NEGATIVE", "--prompt", self.path("bad.md"))
        self.ends(1, "none.md", "--prompt", self.path("none.md"))
        self.ends(1, "none.csv", source=self.path("none.csv"))
        gold = self.write_csv("gold.csv", ("text", "label"), [("up", "POSITIVE"), ("down", "BAD")])
        self.ends(3, "row 2", "--gold", gold)
        self.ends(2, "ending", output="labels.xyz")
        with open(self.path("text.sqlite"), "w", encoding="utf-8") as file:
            file.write("no store, but a file that somebody needs\n" * 100)
        self.ends(3, "no finch store", "--state", self.path("text.sqlite"))
        # The preset host gets no key that is not its own.
        done = fleet.run([fleet.PROGRAM, "label", "--input", self.source, "--output", self.path("x.csv"), "--state", self.path("p.sqlite")], fleet.environment(provider))
        self.assertEqual(2, done.returncode)
        self.assertIn("OPENROUTER_API_KEY", done.stderr)
        self.assertEqual({}, provider.requests())

    def test_a_model_that_is_not_there_ends_with_4_after_one_answer(self):
        provider = self.standing = self.provider(style="openai")
        self.source = fleet.write_input(self.folder, fleet.tweets(200))
        done = fleet.run(self.words(provider, self.source, "--in-flight", 1, model="gpt-none"), fleet.environment(provider))
        self.assertEqual(4, done.returncode, done.stderr)
        self.assertIn("gpt-none", done.stderr)
        self.assertLess(len(provider.requests()), 6)

    def test_the_json_document_is_whole(self):
        texts, provider = fleet.tweets(100), self.provider()
        done = self.label(provider, fleet.write_input(self.folder, texts))
        self.assertEqual({"job", "state", "store", "model", "prompt", "rows", "texts", "labelled", "unlabelled", "left", "classes", "estimate", "run", "gold", "requests",
                          "input_tokens", "output_tokens", "cost_usd", "cpu_seconds", "peak_rss_bytes", "queued_rss_bytes", "output", "rows_by_people", "reason"}, set(done))
        self.assertEqual(collections.Counter(map(class_of, texts)), collections.Counter(done["classes"]))
        self.assertEqual(list(CLASSES), list(done["classes"]))
        self.assertEqual((100, 100, 100, 0, 0, 5), tuple(done[key] for key in ("rows", "texts", "labelled", "unlabelled", "left", "requests")))
        self.assertEqual((sum(over["status"] == 200 for _, over in provider.requests().values()), None, self.path("labels.csv"), ""),
                         (done["run"]["requests"], done["gold"], done["output"], done["reason"]))

    def test_progress_says_what_there_is_to_know(self):
        texts, provider = fleet.tweets(600), self.provider(latency_ms=1300, rules=[{"fault": "status", "status": 429, "first": 1}])
        done = fleet.run(self.words(provider, fleet.write_input(self.folder, texts), "--in-flight", 6), fleet.environment(provider))
        self.assertEqual(0, done.returncode)
        lines = [line for line in done.stderr.splitlines() if "in flight" in line]
        self.assertTrue(lines, done.stderr)
        for word in ("/s,", "in flight", "429", "$", "NEUTRAL", "left"):
            self.assertTrue(any(word in line for line in lines), (word, lines))

    def rows_on_a_terminal(self, provider, columns, *more):
        """What the run drew on a terminal so wide, frame by frame: the rows of each."""
        controller, terminal = os.openpty()
        fcntl.ioctl(controller, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        words = self.words(provider, fleet.write_input(self.folder, fleet.tweets(400)), *more, state=f"{columns}.sqlite", output=f"{columns}.csv")
        running = subprocess.Popen(words, env=fleet.environment(provider, TERM="xterm", LC_ALL="C.UTF-8"), stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal)
        self.addCleanup(running.kill)
        os.close(terminal)
        drawn = b""
        try:
            while data := os.read(controller, 65536):
                drawn += data
        except OSError:
            pass  # its last user is gone
        os.close(controller)
        self.assertEqual(0, running.wait(timeout=60))
        text = drawn.decode().replace("\r\n", "\n")  # the terminal's own
        return [frame.replace("\x1b[A", "").replace("\x1b[J", "").split("\n") for frame in text.split("\r") if "labelling " in frame and "in flight" in frame]

    def test_progress_fits_the_terminal(self):
        for columns, rows in ((80, 2), (200, 1), (50, 2)):
            provider = self.provider(latency_ms=400, rules=[{"fault": "status", "status": 429, "first": 1}])
            frames = self.rows_on_a_terminal(provider, columns, "--in-flight", 4, "--backoff", 0.05)
            late = [frame for frame in frames if any("SP" in row for row in frame)] or frames[-2:]
            for frame in frames[:-1]:
                self.assertLess(max(map(len, frame)), columns, frame)
            self.assertEqual(rows, len(late[0]), late[0])
            if columns < 80:
                continue
            for word in ("texts, ", "/s, ", "left", "in flight", "1 x 429", "$", "SN", "SP"):
                self.assertIn(word, ", ".join(late[0]))


if __name__ == "__main__":
    unittest.main()
