"""finch label from end to end: the real program against the stand-in provider, every option that changes what is asked, what
is kept, what is written and how the run ends. Faults, rates, keys and kills have tests of their own (tests/label, tests/kill)."""
import collections
import csv
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "label"))
import fleet  # noqa: E402
from chat import confidence_of  # noqa: E402
from postgres import Postgres  # noqa: E402
from provider import Provider  # noqa: E402
from truth import CLASSES, class_of  # noqa: E402

NOISY = "standin/other"


def noise_of(model):
    from standin import MODELS
    return MODELS[model].get("noise", 0.0)


def said(model, text, vote=""):
    """The class that a model of the stand-in gives a text."""
    return class_of(text, model, noise_of(model), vote)


class LabelCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-label-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def provider(self, **config):
        one = Provider(config={"keys": [fleet.KEY], **config})
        self.addCleanup(one.stop)
        return one

    def words(self, provider, source, *more, output="labels.csv", model="standin/five", state="state.sqlite"):
        return fleet.command(provider, source, self.path(output), self.path(state), *more, model=model)

    def label(self, provider, source, *more, status=0, env=None, **names):
        """The run's --json document."""
        done = fleet.run([*self.words(provider, source, *more, **names), "--json"], env or fleet.environment(provider))
        self.assertEqual(status, done.returncode, done.stderr)
        self.errors = done.stderr
        return json.loads(done.stdout)

    def other(self, provider, what, *more, status=0, state="state.sqlite"):
        """finch label status, pause, resume or export."""
        done = fleet.run([fleet.PROGRAM, "label", what, "--state", self.path(state), *map(str, more)], fleet.environment(provider))
        self.assertEqual(status, done.returncode, done.stderr)
        self.errors = done.stderr
        return json.loads(done.stdout) if "--json" in more else None

    def write_csv(self, name, columns, rows):
        with open(self.path(name), "w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([columns, *rows])
        return self.path(name)

    def rows(self, name="labels.csv"):
        return fleet.read_output(self.path(name))

    def paid(self, provider):
        return sum(over["cost"] for _, over in provider.requests().values() if over and over["delivered"] and "cost" in over)


class Quality(LabelCase):
    def votes_of(self, provider, model):
        """{text: its votes}, worked out from the ledger: a vote is the answer to one request."""
        votes = collections.defaultdict(list)
        for came, _ in sorted(provider.requests().values(), key=lambda pair: pair[0]["at_ms"]):
            if came["model"] == model:
                for text in came["texts"]:
                    votes[text].append(said(model, text, f"{came['id']}.0"))
        return votes

    def test_votes_give_the_majority_its_share_and_no_label_to_a_tie(self):
        texts, provider = fleet.tweets(300), self.provider()
        done = self.label(provider, fleet.write_input(self.folder, texts), "--votes", 4, "--provenance", model=NOISY)
        votes, tied = self.votes_of(provider, NOISY), 0
        self.assertEqual({NOISY}, {came["model"] for came, _ in provider.requests().values()})
        self.assertEqual({0.7}, {came["temperature"] for came, _ in provider.requests().values()})
        for row, text in zip(self.rows(), texts, strict=True):
            counts = collections.Counter(votes[text]).most_common()
            self.assertEqual(4, len(votes[text]))
            if len(counts) > 1 and counts[0][1] == counts[1][1]:
                tied += 1
                self.assertEqual("", row["label"])
                self.assertIn("tied", row["label_reason"])
                continue
            self.assertEqual((counts[0][0], "", "4", str(counts[0][1])), (row["label"], row["label_reason"], row["label_votes"], row["label_agreeing"]))
            self.assertAlmostEqual(counts[0][1] / 4, float(row["label_confidence"]))
        self.assertGreater(tied, 0, "no tie: the test shows too little")
        self.assertEqual((300 - tied, tied), (done["labelled"], done["unlabelled"]))

    def test_a_judge_decides_where_votes_differ_and_is_asked_nothing_else(self):
        texts, provider = fleet.tweets(200), self.provider()
        self.label(provider, fleet.write_input(self.folder, texts), "--votes", 2, "--judge", "standin/five", "--provenance", model=NOISY)
        votes = self.votes_of(provider, NOISY)
        differ = {text for text in texts if len(set(votes[text])) > 1}
        judged = collections.Counter(text for came, _ in provider.requests().values() if came["model"] == "standin/five" for text in came["texts"])
        self.assertEqual(collections.Counter(differ), judged)
        self.assertTrue(20 < len(differ) < 180, len(differ))
        for row, text in zip(self.rows(), texts, strict=True):
            self.assertEqual(class_of(text) if text in differ else votes[text][0], row["label"])
            self.assertEqual(("standin/five", "judge") if text in differ else (NOISY, "votes"), (row["label_model"], row["label_source"]))
            self.assertEqual(str(votes[text].count(row["label"])), row["label_agreeing"])

    def gold(self, texts, labels, name="gold.csv"):
        return self.write_csv(name, ("text", "label"), zip(texts, labels))

    def test_gold_kappa_and_confusion_are_those_of_scikit_learn(self):
        from sklearn.metrics import cohen_kappa_score, confusion_matrix
        texts, provider = fleet.tweets(260), self.provider()
        truth = [class_of(text) for text in texts[:120]]
        done = self.label(provider, fleet.write_input(self.folder, texts[60:]), "--gold", self.gold(texts[:120], truth), "--batch", 10, "--in-flight", 2, model=NOISY)
        answers = [said(NOISY, text) for text in texts[:120]]
        self.assertEqual(120, done["gold"]["n"])
        self.assertAlmostEqual(cohen_kappa_score(truth, answers), done["gold"]["kappa"], places=12)
        self.assertEqual(confusion_matrix(truth, answers, labels=CLASSES).tolist(), done["gold"]["confusion"])
        # Gold is asked first, each once also where the input has it too, and the output has the input's rows alone.
        asked = [text for _, (came, _) in sorted(provider.requests().items()) for text in came["texts"]]
        self.assertEqual(set(texts[:120]), set(asked[:120]))
        self.assertEqual(260, len(asked))
        self.assertEqual([(text, said(NOISY, text)) for text in texts[60:]], [(row["text"], row["label"]) for row in self.rows()])

    def test_the_stop_rule_ends_a_run_whose_kappa_is_low(self):
        texts, provider = fleet.tweets(2000), self.provider(latency_ms=20)
        wrong = [CLASSES[(CLASSES.index(class_of(text)) + at) % 5] for at, text in enumerate(texts[:100])]
        source, gold = fleet.write_input(self.folder, texts[100:]), self.gold(texts[:100], wrong)
        rule = ("--gold", gold, "--stop-kappa", 0.5, "--stop-after", 50, "--batch", 10, "--in-flight", 2)
        done = self.label(provider, source, *rule, status=1)
        self.assertIn("kappa", done["reason"])
        self.assertLess(done["gold"]["kappa"], 0.5)
        self.assertLess(len(provider.answers()), 400)
        self.assertFalse(os.path.exists(self.path("labels.csv")))
        self.assertEqual("stopped", self.other(provider, "status", "--json")["jobs"][0]["state"])
        # The same labels with a model as good as they are: nothing stops it.
        right = self.gold(texts[:100], map(class_of, texts[:100]), "right.csv")
        done = self.label(provider, source, "--gold", right, *rule[2:], state="other.sqlite")
        self.assertEqual(1.0, done["gold"]["kappa"])

    def test_log_probabilities_give_a_confidence(self):
        texts, provider = fleet.tweets(100), self.provider()
        self.label(provider, fleet.write_input(self.folder, texts), "--logprobs", "--provenance")
        for row, text in zip(self.rows(), texts, strict=True):
            self.assertAlmostEqual(confidence_of(text), float(row["label_confidence"]), places=9)

    def test_provenance_leads_to_the_request(self):
        texts, provider = fleet.tweets(60), self.provider()
        begin = time.time()
        done = self.label(provider, fleet.write_input(self.folder, texts), "--provenance")
        rows = self.rows()
        self.assertEqual(["tweet_id", "text", "label", "label_reason", "label_confidence", "label_votes", "label_agreeing", "label_model", "label_prompt",
                          "label_request", "label_time", "label_source", "label_by_model", "label_people"], list(rows[0]))
        self.assertEqual({("standin/five", done["prompt"], "1", "1", "")},
                         {(row["label_model"], row["label_prompt"], row["label_votes"], row["label_agreeing"], row["label_confidence"]) for row in rows})
        self.assertEqual(3, len({row["label_request"] for row in rows}))
        import datetime
        for row in rows:
            at = datetime.datetime.fromisoformat(row["label_time"].replace("Z", "+00:00")).timestamp()
            self.assertTrue(begin - 2 <= at <= time.time() + 2, row["label_time"])


class People(LabelCase):
    """What finch review kept reaches the output. The desk itself has tests/cli/test_review.py."""

    def review(self, reviewer, marks):
        with sqlite3.connect(self.path("state.sqlite")) as db:
            db.executemany("INSERT INTO label_review (hash, reviewer, label, created) VALUES (?, ?, ?, 1)",
                           [(hashlib.sha256(text.encode()).hexdigest()[:32], reviewer, label) for text, label in marks.items()])

    def test_more_than_half_of_the_people_win_and_the_models_label_is_kept_beside(self):
        texts = fleet.tweets(40)
        provider = self.provider(rules=[{"fault": "refusal", "text": texts[9]}])
        source = fleet.write_input(self.folder, texts)
        done = self.label(provider, source, "--attempts", 1)
        self.assertEqual((39, 1, 0), (done["labelled"], done["unlabelled"], done["rows_by_people"]))
        model = [CLASSES.index(class_of(text)) for text in texts]
        self.review("anna", {texts[0]: (model[0] + 1) % 5, texts[1]: (model[1] + 1) % 5, texts[2]: (model[2] + 1) % 5, texts[9]: 4, texts[20]: model[20]})
        self.review("ben \"x\"", {texts[0]: (model[0] + 1) % 5, texts[1]: (model[1] + 2) % 5, texts[2]: (model[2] + 1) % 5})
        self.review("eve", {texts[2]: model[2]})
        for reviews in ("win", "beside"):
            more = () if reviews == "win" else ("--reviews", "beside")
            done = self.other(provider, "export", "--output", self.path("out.csv"), "--provenance", "--json", *more)
            rows, wins = self.rows("out.csv"), reviews == "win"
            self.assertEqual(4 if wins else 0, done["rows_by_people"])
            for at, (row, text) in enumerate(zip(rows, texts, strict=True)):
                own = "" if at == 9 else class_of(text)
                people = {0: (model[0] + 1) % 5, 2: (model[2] + 1) % 5, 9: 4, 20: model[20]}.get(at) if wins else None
                self.assertEqual(own if people is None else CLASSES[people], row["label"], at)
                self.assertEqual(own, row["label_by_model"])
                self.assertEqual("people" if people is not None else "" if own == "" else "model", row["label_source"])
                self.assertEqual(row["label"] == "", row["label_reason"] != "")
                self.assertEqual("standin/five" if own else "", row["label_model"])
            self.assertEqual({"anna": CLASSES[(model[1] + 1) % 5], 'ben "x"': CLASSES[(model[1] + 2) % 5]}, json.loads(rows[1]["label_people"]))
            self.assertEqual("", rows[5]["label_people"])
        # The same at the end of a run, and without provenance.
        self.label(provider, source)
        self.assertEqual([CLASSES[(model[0] + 1) % 5], class_of(texts[1])], [row["label"] for row in self.rows()[:2]])


    def test_all_of_it_on_postgresql(self):
        texts, provider = fleet.tweets(60), self.provider()
        source, people = fleet.write_input(self.folder, texts), [CLASSES[(CLASSES.index(class_of(text)) + 1) % 5] for text in texts[:3]]
        gold = self.write_csv("gold.csv", ("text", "label"), [(text, class_of(text)) for text in texts[:30]])
        with Postgres() as server:
            url = server.url("jobs")

            def run(*words):
                done = fleet.run([fleet.PROGRAM, "label", *map(str, words), "--state", url, "--json"], fleet.environment(provider))
                self.assertIn(done.returncode, (0, 1), done.stderr)
                return json.loads(done.stdout)
            first = ("--input", source, "--output", self.path("labels.csv"), "--provider-url", provider.url, "--model", NOISY, "--votes", 3, "--judge", "standin/object",
                     "--gold", gold, "--provenance")
            self.assertEqual("stopped", run(*first, "--max-requests", 2)["state"])
            done = run(*first)
            self.assertEqual((60, 0, 30), (done["labelled"], done["left"], done["gold"]["n"]))
            self.assertAlmostEqual(self.paid(provider), done["cost_usd"], places=9)
            for text, label in zip(texts, people):
                for reviewer in ("anna", "ben 'x'"):
                    name = reviewer.replace("'", "''")
                    server.query("jobs", f"INSERT INTO label_review (hash, reviewer, label, created) VALUES ('{hashlib.sha256(text.encode()).hexdigest()[:32]}', "
                                         f"'{name}', {CLASSES.index(label)}, 1)")
            before = self.rows()
            self.assertEqual(3, run("export", "--output", self.path("out.csv"), "--provenance")["rows_by_people"])
            rows = self.rows("out.csv")
            self.assertEqual(people + [row["label"] for row in before[3:]], [row["label"] for row in rows])
            self.assertEqual([row["label"] for row in before], [row["label_by_model"] for row in rows])
            self.assertEqual({"anna": people[0], "ben 'x'": people[0]}, json.loads(rows[0]["label_people"]))
            self.assertTrue({row["label_source"] for row in before} == {"votes", "judge"})
            status = run("status")["jobs"][0]
            self.assertEqual(("done", 60), (status["state"], status["labelled"]))


class Formats(LabelCase):
    def formats(self, provider, model):
        return [came["format"] for _, (came, _) in sorted(provider.requests().items()) if came["model"] == model]

    def test_a_model_is_asked_in_the_best_form_it_knows_and_that_is_remembered(self):
        texts = fleet.tweets(60)
        source = fleet.write_input(self.folder, texts)
        more, provider = fleet.write_input(self.folder, fleet.tweets(20, seed=3), "more.csv"), self.provider(style="openai")
        for model, tried, kept in (("standin/five", [], "json_schema"), ("standin/object", ["json_schema"], "json_object"), ("standin/llama", ["json_schema"], "json_object"),
                                   ("standin/lines", ["json_schema", "json_object"], None)):
            name = model[8:]
            done = self.label(provider, source, "--in-flight", 1, model=model, output=f"{name}.csv")
            self.assertEqual(set(), fleet.check_output(self, self.path(f"{name}.csv"), texts))
            self.assertEqual(tried + [kept] * 3, self.formats(provider, model))
            self.assertEqual(0, done["run"]["asked_again"])
            # Another job with the same store asks rightly at once.
            self.label(provider, more, model=model, output="more-labels.csv")
            self.assertEqual(tried + [kept] * 4, self.formats(provider, model))

    def test_all_that_is_in_flight_at_the_first_refusal_goes_on(self):
        texts, provider = fleet.tweets(400), self.provider(latency_ms=30)
        done = self.label(provider, fleet.write_input(self.folder, texts), "--in-flight", 10, model="standin/object")
        self.assertEqual(set(), fleet.check_output(self, self.path("labels.csv"), texts))
        self.assertEqual({"json_schema": 10, "json_object": 20}, collections.Counter(self.formats(provider, "standin/object")))
        self.assertEqual(0, done["run"]["failed"])

    def test_a_model_that_takes_the_schema_and_heeds_it_not(self):
        texts, provider = fleet.tweets(100), self.provider()
        self.label(provider, fleet.write_input(self.folder, texts), model="standin/deaf")
        self.assertEqual(set(), fleet.check_output(self, self.path("labels.csv"), texts))

    def test_another_refusal_is_not_taken_for_the_form_for_good(self):
        texts = fleet.tweets(100)
        provider = self.provider(rules=[{"fault": "status", "status": 400, "first": 1}])
        self.label(provider, fleet.write_input(self.folder, texts[:40]), "--in-flight", 1)
        self.assertEqual(["json_schema", "json_object", "json_object"], self.formats(provider, "standin/five"))
        self.label(provider, fleet.write_input(self.folder, texts[40:], "more.csv"))
        self.assertEqual("json_schema", self.formats(provider, "standin/five")[-1])

    def test_the_judge_has_a_form_of_its_own(self):
        texts, provider = fleet.tweets(100), self.provider()
        self.label(provider, fleet.write_input(self.folder, texts), "--votes", 2, "--judge", "standin/plain", model=NOISY)
        self.assertEqual({"json_schema"}, set(self.formats(provider, NOISY)))
        self.assertIn(None, self.formats(provider, "standin/plain"))
        with sqlite3.connect(self.path("state.sqlite")) as db:
            self.assertEqual([(NOISY, 1), ("standin/plain", 0)], db.execute("SELECT model, answers_by_schema FROM label_model ORDER BY model").fetchall())

    def test_what_the_user_chose_is_kept_to(self):
        texts, provider = fleet.tweets(20), self.provider()
        source = fleet.write_input(self.folder, texts)
        for at, (chosen, sent) in enumerate((("object", "json_object"), ("plain", None), ("schema", "json_schema"))):
            self.label(provider, source, "--response-format", chosen, state=f"{at}.sqlite")
            self.assertEqual(sent, self.formats(provider, "standin/five")[-1])
        done = self.label(provider, source, "--response-format", "schema", status=4, model="standin/plain")
        self.assertIn("response_format", done["reason"])


class Money(LabelCase):
    def test_a_dry_run_asks_nothing_and_promises_not_too_little(self):
        texts, provider = fleet.tweets(400), self.provider(style="openrouter")
        source, prices = fleet.write_input(self.folder, texts), ("--price-in", 1.25, "--price-out", 10)
        dry = self.label(provider, source, "--dry-run", *prices, env=fleet.environment(provider, key=None))
        self.assertEqual({}, provider.requests())
        self.assertFalse(os.path.exists(self.path("labels.csv")))
        self.assertEqual(("ready", 400, 20, 400), (dry["state"], dry["estimate"]["texts"], dry["estimate"]["requests"], dry["left"]))
        done = self.label(provider, source, *prices)
        self.assertEqual(20, len(provider.requests()))
        self.assertEqual(dry["job"], done["job"])
        for key in ("input_tokens", "output_tokens", "cost_usd"):
            self.assertTrue(done[key] <= dry["estimate"][key] < 3 * done[key], (key, dry["estimate"], done[key]))

    def test_the_cost_is_what_the_provider_says(self):
        texts, provider = fleet.tweets(400), self.provider(rules=[{"fault": "unknown_class", "every": 5}])
        done = self.label(provider, fleet.write_input(self.folder, texts))
        # Broken answers cost too.
        self.assertAlmostEqual(self.paid(provider), done["cost_usd"], places=9)
        self.assertAlmostEqual(done["cost_usd"], done["run"]["cost_usd"], places=9)
        self.assertAlmostEqual(done["cost_usd"], self.other(provider, "status", "--json")["jobs"][0]["cost_usd"], places=9)

    def test_tokens_times_prices_where_the_provider_says_no_cost(self):
        texts, provider = fleet.tweets(100), self.provider(style="openai")
        done = self.label(provider, fleet.write_input(self.folder, texts), "--price-in", 2, "--price-out", 8)
        self.assertAlmostEqual((done["input_tokens"] * 2 + done["output_tokens"] * 8) * 1e-6, done["cost_usd"], places=8)
        self.assertGreater(done["cost_usd"], 0)

    def test_max_cost_is_never_passed_and_more_money_goes_on(self):
        texts, provider = fleet.tweets(1000), self.provider(latency_ms=20)
        source = fleet.write_input(self.folder, texts)
        done = self.label(provider, source, "--max-cost", 0.05, status=1)
        self.assertIn("--max-cost", done["reason"])
        self.assertLessEqual(self.paid(provider), 0.05)
        self.assertGreater(self.paid(provider), 0.05 * 0.75, "the money was hardly used")
        self.assertFalse(os.path.exists(self.path("labels.csv")))
        # The bound is the job's, not the run's: the same command again asks nothing.
        n = len(provider.requests())
        self.label(provider, source, "--max-cost", 0.05, status=1)
        self.assertEqual(n, len(provider.requests()))
        self.label(provider, source, "--max-cost", 5)
        self.assertEqual(set(), fleet.check_output(self, self.path("labels.csv"), texts))
        fleet.check_paid_once(self, provider, texts)

    def test_max_cost_without_knowing_what_things_cost(self):
        texts, provider = fleet.tweets(100), self.provider(style="openai", latency_ms=50)
        done = self.label(provider, fleet.write_input(self.folder, texts), "--max-cost", 1, status=1)
        self.assertIn("--price-in", done["reason"])
        self.assertEqual(1, len(provider.requests()))

    def test_max_requests_is_exact(self):
        texts, provider = fleet.tweets(400), self.provider(latency_ms=20)
        source = fleet.write_input(self.folder, texts)
        for n in (7, 14):
            done = self.label(provider, source, "--max-requests", 7, status=1)
            self.assertIn("--max-requests", done["reason"])
            self.assertEqual(n, len(provider.requests()))
            self.assertEqual(20 * n, done["labelled"])
        self.label(provider, source)
        self.assertEqual(20, len(provider.requests()))
        self.assertEqual(set(), fleet.check_output(self, self.path("labels.csv"), texts))

    def test_tokens_a_minute(self):
        texts, provider = fleet.tweets(60), self.provider()
        tpm = 180000  # 3,000 a second, a request has some 1,200
        begin = time.monotonic()
        done = self.label(provider, fleet.write_input(self.folder, texts), "--tpm", tpm, "--batch", 10)
        used, seconds = done["input_tokens"] + done["output_tokens"], time.monotonic() - begin
        last = used / 6
        self.assertLessEqual((used - last) / seconds, tpm / 60)
        self.assertGreater(used / seconds, tpm / 60 / 4)


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
        self.other(provider, "export", "--job", "night", "--output", self.path("so-far.csv"), "--provenance", "--json")
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
        self.assertEqual(20 * asked, sum(provider.answers().values()))
        self.assertEqual(20 * asked, self.other(provider, "status", "--json")["jobs"][0]["labelled"])
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


class Tables(LabelCase):
    def write_table(self, name, texts):
        import pyarrow as pa
        import pyarrow.parquet as pq
        ids, path = [10**15 + at for at in range(len(texts))], self.path(name)
        if name.endswith(".parquet"):
            pq.write_table(pa.table({"tweet_id": pa.array(ids, pa.int64()), "body": texts, "post_date": pa.array(ids, pa.timestamp("us"))}), path)
        elif name.endswith(".jsonl"):
            with open(path, "w", encoding="utf-8") as out:
                out.writelines(json.dumps({"tweet_id": n, "body": text}) + "\n" for n, text in zip(ids, texts))
        else:
            self.write_csv(name, ("tweet_id", "body"), zip(ids, ["" if text is None else text for text in texts]))
        return path

    def read_table(self, name):
        path = self.path(name)
        if name.endswith(".parquet"):
            import pyarrow.parquet as pq
            return pq.read_table(path).to_pylist()
        if name.endswith(".jsonl"):
            with open(path, encoding="utf-8") as lines:
                return [json.loads(line) for line in lines]
        return [{**row, "tweet_id": int(row["tweet_id"]), "label": row["label"] or None, "label_reason": row["label_reason"] or None} for row in fleet.read_output(path)]

    def test_every_format_in_and_out(self):
        texts, provider = fleet.tweets(50), self.provider()
        for source in ("in.csv", "in.jsonl", "in.parquet"):
            self.write_table(source, texts)
            for output in ("out.csv", "out.jsonl", "out.parquet"):
                self.label(provider, self.path(source), "--text-column", "body", output=output)
                rows = self.read_table(output)
                self.assertEqual([(10**15 + at, text, class_of(text), None) for at, text in enumerate(texts)],
                                 [(row["tweet_id"], row["body"], row["label"], row["label_reason"]) for row in rows], (source, output))
                self.assertEqual(source == "in.parquet", "post_date" in rows[0])
        self.assertEqual(50, sum(provider.asked().values()), "one store, one model: the same texts are asked once for all nine")

    def test_rows_without_a_text_are_not_asked_and_equal_ones_once(self):
        long = "x" * (64 * 1024 + 1)
        texts = ["$A up", None, "  ", "$A up", long, "$B down", "\u00a0", "$B down ", "nul\0byte"]
        provider = self.provider()
        done = self.label(provider, self.write_table("in.parquet", texts), "--text-column", "body", output="out.jsonl")
        rows = self.read_table("out.jsonl")
        self.assertEqual(texts, [row["body"] for row in rows])
        self.assertEqual([class_of("$A up"), None, None, class_of("$A up"), None, class_of("$B down")], [row["label"] for row in rows[:6]])
        self.assertEqual(["there is no text", "there is no text", "the text is longer than 64 KiB"], [rows[at]["label_reason"] for at in (1, 2, 4)])
        self.assertEqual(class_of("nul byte"), rows[8]["label"])
        self.assertTrue(all(n == 1 for n in provider.asked().values()), provider.asked())
        self.assertEqual((9, 5), (done["rows"], done["texts"]))

    def test_many_files_and_globs_and_stdout(self):
        texts, provider = fleet.tweets(60), self.provider()
        for at in range(3):
            fleet.write_input(self.folder, texts[20 * at:20 * at + 20], f"part-{at}.csv")
        done = fleet.run([fleet.PROGRAM, "label", "--input", self.path("part-*.csv"), "--output", "-", "--state", self.path("s.sqlite"), "--provider-url", provider.url,
                          "--model", "standin/five"], fleet.environment(provider))
        self.assertEqual(0, done.returncode, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(text, class_of(text)) for text in texts], [(row["text"], row["label"]) for row in rows])

    def test_names_that_are_taken_are_told_before_anything_is_paid_for(self):
        provider = self.provider()
        source = self.write_csv("in.csv", ("text", "label"), [(text, "mine") for text in fleet.tweets(20)])
        done = fleet.run(self.words(provider, source), fleet.environment(provider))
        self.assertEqual(2, done.returncode, done.stderr)
        self.assertIn("--prefix", done.stderr)
        self.assertEqual({}, provider.requests())
        self.label(provider, source, "--prefix", "llm_")
        self.assertEqual([("mine", class_of(row["text"])) for row in self.rows()], [(row["label"], row["llm_label"]) for row in self.rows()])


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
        texts, provider = fleet.tweets(600), self.provider(latency_ms=700, rules=[{"fault": "status", "status": 429, "first": 1}])
        done = fleet.run(self.words(provider, fleet.write_input(self.folder, texts), "--in-flight", 6), fleet.environment(provider))
        self.assertEqual(0, done.returncode)
        lines = [line for line in done.stderr.splitlines() if "in flight" in line]
        self.assertTrue(lines, done.stderr)
        for word in ("/s,", "in flight", "429", "$", "NEUTRAL", "left"):
            self.assertTrue(any(word in line for line in lines), (word, lines))


if __name__ == "__main__":
    unittest.main()
