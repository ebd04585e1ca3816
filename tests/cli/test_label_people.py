"""finch label and what people said in finch review; all of it on PostgreSQL too."""
import hashlib
import json
import sqlite3
import unittest

from label_case import NOISY, LabelCase, fleet
from postgres import Postgres
from truth import CLASSES, class_of


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


if __name__ == "__main__":
    unittest.main()
