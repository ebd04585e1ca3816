"""finch bench: its figures fit each other and the work; how fast it is, is for bench/ to say."""
import os
import tempfile
import unittest

from finch_cli import SOURCE, finch, finch_json

MODEL = os.path.join(SOURCE, "build", "models", "minilm")
CSV = os.path.join(SOURCE, "data", "fintweets5", "valid.csv")


class Bench(unittest.TestCase):
    def test_products_are_below_the_peak(self):
        document = finch_json("bench", "gemm", "--threads", 1)
        products = document["products"]
        self.assertEqual([p["compute"] for p in products[:8]], ["f32"] * 8)
        self.assertIn("int8", {p["compute"] for p in products})
        for product in products:
            # Above 1 only by the noise of a shared machine; a peak that is none would be passed by far and by all.
            self.assertTrue(0 < product["share_of_peak"] < 3, product)
            self.assertGreater(product["peak_gops"], 0.1)
        for compute in {p["compute"] for p in products}:
            shares = sorted(p["share_of_peak"] for p in products if p["compute"] == compute)
            self.assertLess(shares[len(shares) // 2], 1.2, compute)

    def test_unusable_words(self):
        done = finch("bench", "everything")
        self.assertEqual((done.returncode, "score|train|tokenize|gemm" in done.stderr), (2, True))


@unittest.skipUnless(os.path.exists(os.path.join(MODEL, "config.json")), "build/models/minilm is not made")
class WithModel(unittest.TestCase):
    def test_tokenize_counts_what_tokenize_writes(self):
        with tempfile.TemporaryDirectory() as place:
            written = finch_json("tokenize", "--model", MODEL, "--input", CSV, "--text-column", "text", "--output",
                                 os.path.join(place, "ids.jsonl"), "--max-tokens", 40)
        document = finch_json("bench", "tokenize", "--model", MODEL, "--input", CSV, "--text-column", "text", "--max-tokens", 40, "--runs", 2)
        self.assertEqual((document["rows"], document["tokens"]), (written["rows"], written["tokens"]))
        self.assertAlmostEqual(document["texts_per_second"] * document["seconds"], document["rows"], delta=1e-6 * document["rows"])

    def test_score_and_train_measure_their_work(self):
        score = finch_json("bench", "score", "--model", MODEL, "--input", CSV, "--text-column", "text", "--rows", 24, "--runs", 2)
        self.assertEqual((score["rows"], score["threads"] > 0), (24, True))
        self.assertAlmostEqual(score["texts_per_second"] * score["seconds"], 24, delta=1e-4)
        self.assertGreater(score["p50_ms_one"], 0)
        self.assertGreater(score["peak_rss_bytes"], 10 << 20)
        train = finch_json("bench", "train", "--model", MODEL, "--input", CSV, "--text-column", "text", "--batch", 4, "--steps", 3)
        self.assertAlmostEqual(train["examples_per_second"] * train["seconds"], 12, delta=1e-4)
        self.assertTrue(0.3 < train["loss"] < 5, train["loss"])

    def test_labels_are_held(self):
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "rows.csv")
            with open(path, "w") as file:
                file.write("text,label\n" + "a,POSITIVE\n" * 5 + "b,HAPPY\n")
            done = finch("bench", "train", "--model", MODEL, "--input", path, "--text-column", "text", "--batch", 4)
        self.assertEqual(done.returncode, 3)
        self.assertIn('row 6 has the label "HAPPY"', done.stderr)


if __name__ == "__main__":
    unittest.main()
