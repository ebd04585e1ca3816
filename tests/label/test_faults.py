"""Many tweets against a provider of whose requests a tenth go wrong, in every way it knows: each tweet is labelled once with
the provider's own class for that very text, or set aside with a reason, and none is paid for twice.

    FINCH_PROOF=full python tests/label/test_faults.py     10,000 tweets instead of 2,000
"""
import collections
import shutil
import tempfile
import unittest

import fleet
from provider import Provider

N = 10000 if fleet.FULL else 2000
POISON = 7  # tweets that no model will label


class Faults(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-label-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def proof(self, tls, share):
        texts = fleet.tweets(N)
        poison = texts[5:5 + 100 * POISON:100]
        rules = [{"fault": "filtered", "text": text} for text in poison] + fleet.faults(share)
        source, output = fleet.write_input(self.folder, texts), f"{self.folder}/labels.csv"
        with Provider(tls=tls, config={"keys": [fleet.KEY], "rules": rules, "latency_ms": 20, "jitter_ms": 15}) as provider:
            done = fleet.run(fleet.command(provider, source, output, f"{self.folder}/state.sqlite", "--batch", 5, *fleet.HASTE), fleet.environment(provider))
            self.assertEqual(0, done.returncode, done.stderr)
            aside = fleet.check_output(self, output, texts)
            answers = fleet.check_paid_once(self, provider, texts)
            self.assertEqual(set(poison), aside, "set aside without need, or not set aside")
            guessed = set(texts) - aside - set(answers)
            self.assertEqual(0, len(guessed), f"labels without a whole answer, among them\n{fleet.story(provider, guessed)}")
            counts = collections.Counter(provider.counts()["counts"])
            requests = provider.requests()
            struck = sum(1 for _, out in requests.values() if out and out["fault"] not in (None, "filtered"))
            print(f"{N} tweets, {len(requests)} requests, {struck} faults of {len(counts) - 1} kinds, {len(aside)} set aside")
            self.assertGreater(struck, share * len(requests) / 2)
            self.assertLessEqual(provider.most_at_once(), 32)
            return requests

    def test_a_tenth_goes_wrong_over_http2(self):
        requests = self.proof(True, 0.1)
        self.assertEqual({"h2"}, {came["protocol"] for came, _ in requests.values()})

    def test_a_third_goes_wrong_in_the_clear(self):
        requests = self.proof(False, 0.33)
        self.assertEqual({"http/1.1"}, {came["protocol"] for came, _ in requests.values()})


if __name__ == "__main__":
    unittest.main()
