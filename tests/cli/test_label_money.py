"""finch label and money: the estimate, the true cost, the bounds."""
import os
import time
import unittest

from label_case import LabelCase, fleet


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


if __name__ == "__main__":
    unittest.main()
