"""finch label and the forms of answer that models know."""
import collections
import sqlite3
import unittest

from label_case import NOISY, LabelCase, fleet


class Formats(LabelCase):
    def formats(self, provider, model):
        return [came["format"] for _, (came, _) in sorted(provider.requests().items()) if came["model"] == model]

    def test_a_model_is_asked_in_the_best_form_it_knows_and_that_is_remembered(self):
        texts = fleet.tweets(60)
        source = fleet.write_input(self.folder, texts)
        more, provider = fleet.write_input(self.folder, fleet.tweets(20, seed=3), "more.csv"), self.provider(style="openai")
        for model, tried, kept in (("standin/five", [], "json_schema"), ("standin/object", ["json_schema", "guided"], "json_object"), ("standin/llama", ["json_schema"], "guided"),
                                   ("standin/lines", ["json_schema", "guided", "json_object"], None)):
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
        self.assertEqual({"json_schema": 10, "guided": 20}, collections.Counter(self.formats(provider, "standin/object")))
        self.assertEqual(0, done["run"]["failed"])

    def test_a_model_that_takes_the_schema_and_heeds_it_not(self):
        texts, provider = fleet.tweets(100), self.provider()
        self.label(provider, fleet.write_input(self.folder, texts), model="standin/deaf")
        self.assertEqual(set(), fleet.check_output(self, self.path("labels.csv"), texts))

    def test_another_refusal_is_not_taken_for_the_form_for_good(self):
        texts = fleet.tweets(100)
        provider = self.provider(rules=[{"fault": "status", "status": 400, "first": 1}])
        self.label(provider, fleet.write_input(self.folder, texts[:40]), "--in-flight", 1)
        self.assertEqual(["json_schema", "guided", "guided"], self.formats(provider, "standin/five"))
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
        for at, (chosen, sent) in enumerate((("object", "json_object"), ("guided", "guided"), ("plain", None), ("schema", "json_schema"))):
            self.label(provider, source, "--response-format", chosen, state=f"{at}.sqlite")
            self.assertEqual(sent, self.formats(provider, "standin/five")[-1])
        done = self.label(provider, source, "--response-format", "schema", status=4, model="standin/plain")
        self.assertIn("response_format", done["reason"])


if __name__ == "__main__":
    unittest.main()
