"""finch label and quality: votes, the judge, gold labels, the stop rule, confidence, provenance."""
import collections
import datetime
import os
import time
import unittest

from label_case import NOISY, LabelCase, fleet, said
from chat import confidence_of
from truth import CLASSES, class_of


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
        from sklearn.metrics import cohen_kappa_score, confusion_matrix  # takes seconds to load
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
        # Fewer gold texts than the rule wants: all of them are enough.
        few = self.gold(texts[:40], wrong[:40], "few.csv")
        done = self.label(provider, source, "--gold", few, "--stop-kappa", 0.5, "--batch", 10, "--in-flight", 2, state="few.sqlite", status=1)
        self.assertEqual(40, done["gold"]["n"])
        self.assertLess(len(provider.answers()), 800)
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
        for row in rows:
            at = datetime.datetime.fromisoformat(row["label_time"].replace("Z", "+00:00")).timestamp()
            self.assertTrue(begin - 2 <= at <= time.time() + 2, row["label_time"])


if __name__ == "__main__":
    unittest.main()
