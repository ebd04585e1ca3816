"""finch.Model: what it takes, what it gives, where columns lie, threads, forks, and calls that can not be."""
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from finch_python import BUILD, SOURCE, TINY_BERT, TWEETS

import finch
import numpy as np
import pandas
import polars
import pyarrow
from finch import _texts

LONG = [f"tweet {i} of many: $AAPL is up and $TSLA is down, which nobody saw coming" for i in range(1000)]


class Scoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = finch.Model.open()
        cls.expected = cls.model.score(TWEETS)

    def test_rows_are_probabilities(self):
        self.assertEqual(self.expected.shape, (len(TWEETS), 5))
        self.assertEqual(self.expected.dtype, np.float32)
        np.testing.assert_allclose(self.expected.sum(axis=1), 1, atol=1e-6)
        ids = (np.arange(5) - 2) / 2
        np.testing.assert_allclose(self.model.sentiment(TWEETS), self.expected.astype(np.float64) @ ids, atol=1e-7)

    def test_the_program_says_the_same(self):
        texts = [text for text in TWEETS if text]  # the program leaves empty ones out
        lines = "".join(json.dumps({"body": text}) + "\n" for text in texts)
        done = subprocess.run([os.environ.get("FINCH", str(BUILD / "finch")), "score", "--model", self.model.info.path, "--input", "-", "--output", "-",
                               "--quiet"], input=lines, capture_output=True, text=True, check=True)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        columns = ["prob_" + label.lower() for label in self.model.info.labels]
        np.testing.assert_allclose([[row[name] for name in columns] for row in rows], self.model.score(texts), atol=1e-6, rtol=0)

    def test_threads_and_company_change_nothing(self):
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(self.model.score(TWEETS, threads=threads), self.expected)
        np.testing.assert_array_equal(np.vstack([self.model.score([text]) for text in TWEETS]), self.expected)

    def test_more_texts_than_a_call_of_the_library_takes(self):
        model = finch.Model.open(TINY_BERT)
        few = model.score(TWEETS)
        many = model.score(TWEETS * 2500)
        self.assertGreater(len(many), finch._model.TEXTS_A_CALL)
        np.testing.assert_array_equal(many, np.tile(few, (2500, 1)))

    def test_logits(self):
        logits = self.model.score(TWEETS, output="logits").astype(np.float64) / self.model.info.temperature
        powers = np.exp(logits)
        np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), self.expected, atol=1e-6)

    def test_info(self):
        info = self.model.info
        self.assertEqual((info.architecture, info.compute, info.max_tokens, info.vocab_size), ("bert", "int8", 512, 30522))
        self.assertEqual(info.labels, ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"))
        card = json.loads((pathlib.Path(info.path) / "finch.json").read_text())
        self.assertAlmostEqual(info.temperature, card["calibration"]["temperature"], places=6)
        self.assertEqual(finch.Model.open(TINY_BERT, compute="bf16").info.compute, "bf16")

    def test_tokens_are_those_of_tokenizers(self):
        import tokenizers
        theirs = tokenizers.Tokenizer.from_file(str(pathlib.Path(self.model.info.path) / "tokenizer.json"))
        theirs.no_padding()
        theirs.no_truncation()
        found = self.model.tokenize(TWEETS)
        self.assertEqual(found.lists(), [theirs.encode(text).ids for text in TWEETS])
        self.assertFalse(found.truncated.any())
        cut = self.model.tokenize(TWEETS, max_tokens=8)
        theirs.enable_truncation(8)
        self.assertEqual(cut.lists(), [theirs.encode(text).ids for text in TWEETS])
        self.assertEqual(cut.truncated.tolist(), [len(ids) > 8 for ids in found.lists()])
        self.assertEqual(self.model.tokenize([]).lists(), [])

    def test_no_texts(self):
        for nothing in ([], (), pyarrow.array([], pyarrow.string()), polars.Series([], dtype=polars.String), pyarrow.chunked_array([], pyarrow.string())):
            self.assertEqual(self.model.score(nothing).shape, (0, 5))
            self.assertEqual(self.model.sentiment(nothing).shape, (0,))


class Columns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = finch.Model.open(TINY_BERT)
        cls.expected = cls.model.score(TWEETS)

    def columns(self, texts):
        yield pyarrow.array(texts)
        yield pyarrow.array(texts, pyarrow.large_string())
        yield pyarrow.array(texts, pyarrow.string_view())
        yield pyarrow.array(texts).dictionary_encode()
        yield pyarrow.chunked_array([texts[:2], [], texts[2:]], pyarrow.string())
        yield polars.Series(texts)
        yield polars.concat([polars.Series(texts[:3]), polars.Series(texts[3:])], rechunk=False)
        yield polars.Series(texts).cast(polars.Categorical)
        yield pandas.Series(texts)
        yield pandas.Series(texts, dtype=pandas.ArrowDtype(pyarrow.string()))

    def test_every_kind(self):
        for column in self.columns(TWEETS):
            with self.subTest(kind=type(column).__module__, type=str(getattr(column, "type", getattr(column, "dtype", "")))):
                np.testing.assert_array_equal(self.model.score(column), self.expected)
        for plain in (np.array(TWEETS, dtype=object), tuple(TWEETS), iter(TWEETS), pandas.Series(TWEETS, dtype=object)):
            np.testing.assert_array_equal(self.model.score(plain), self.expected)

    def test_slices(self):
        whole = pyarrow.array(["left out", *TWEETS, "left out"])
        np.testing.assert_array_equal(self.model.score(whole[1:-1]), self.expected)
        np.testing.assert_array_equal(self.model.score(polars.Series(["left out", *TWEETS])[1:]), self.expected)

    def test_nulls_are_nan(self):
        places = [0, 3, len(TWEETS) + 1]
        texts = list(TWEETS)
        for at in places:
            texts.insert(at, None)
        for column in self.columns(texts):
            with self.subTest(kind=type(column).__module__, type=str(getattr(column, "type", getattr(column, "dtype", "")))):
                scores, sentiments = self.model.score(column), self.model.sentiment(column)
                self.assertEqual(np.flatnonzero(np.isnan(scores).all(axis=1)).tolist(), places)
                self.assertEqual(np.flatnonzero(np.isnan(sentiments)).tolist(), places)
                np.testing.assert_array_equal(np.delete(scores, places, axis=0), self.expected)
        self.assertTrue(np.isnan(self.model.score(pyarrow.array([None, None], pyarrow.string()))).all())

    def inside(self, block, buffers):
        """Whether every text lies in one of the buffers."""
        ranges = [(buffer.address, buffer.address + buffer.size) for buffer in buffers if buffer is not None]
        begins, sizes = block.texts["at"].tolist(), block.texts["size_bytes"].tolist()
        return all(any(low <= begin and begin + size <= high for low, high in ranges) for begin, size in zip(begins, sizes) if size > 0)

    def test_columns_are_read_where_they_lie(self):
        for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
            column = pyarrow.array(LONG, kind)
            self.assertTrue(self.inside(_texts.block(column), column.buffers()), kind)
            self.assertFalse(self.inside(_texts.block(pyarrow.array(LONG, kind)), column.buffers()), "another column is not this one")
        frame = polars.DataFrame({"body": LONG})
        lies = pyarrow.chunked_array(frame["body"])
        self.assertTrue(self.inside(_texts.block(frame["body"]), [buffer for chunk in lies.chunks for buffer in chunk.buffers()]))
        series = pandas.Series(LONG, dtype=pandas.ArrowDtype(pyarrow.string()))
        lies = pyarrow.chunked_array(series)
        self.assertTrue(self.inside(_texts.block(series), [buffer for chunk in lies.chunks for buffer in chunk.buffers()]))

    def test_columns_are_given_back(self):
        before = pyarrow.total_allocated_bytes()
        column = pyarrow.array(LONG)
        block = _texts.block(column)
        del column
        self.assertGreater(pyarrow.total_allocated_bytes(), before, "the block keeps the column")
        self.assertEqual(ctypes.string_at(int(block.texts["at"][7]), int(block.texts["size_bytes"][7])).decode(), LONG[7])
        del block
        self.assertEqual(pyarrow.total_allocated_bytes(), before)
        with self.assertRaises(finch.UnsupportedError):
            self.model.score(pyarrow.array(range(1000)))
        self.model.score(pyarrow.chunked_array([LONG[:10], LONG[10:20]]))
        self.assertEqual(pyarrow.total_allocated_bytes(), before)

    def test_what_is_refused(self):
        table = pyarrow.table({"body": TWEETS, "writer": TWEETS})
        with self.assertRaisesRegex(finch.UnsupportedError, "body, writer"):
            self.model.score(table)
        with self.assertRaisesRegex(finch.UnsupportedError, "string"):
            self.model.score(pyarrow.array([b"bytes"], pyarrow.binary()))
        with self.assertRaises(finch.UnsupportedError):
            self.model.score(polars.Series([1.5]))

        class Liar:
            def __init__(self, given):
                self.given = given

            def __arrow_c_stream__(self, requested_schema=None):
                return self.given

        for given in (None, 3, pyarrow.array(TWEETS).__arrow_c_array__()[0]):
            with self.assertRaises(ValueError):
                self.model.score(Liar(given))
        stream = pyarrow.chunked_array([TWEETS]).__arrow_c_stream__()
        self.model.score(Liar(stream))
        with self.assertRaisesRegex(finch.UsageError, "read before"):
            self.model.score(Liar(stream))

    def test_a_stream_that_fails_says_why(self):
        def batches():
            yield pyarrow.record_batch({"body": TWEETS})
            raise RuntimeError("the disk is gone")

        reader = pyarrow.RecordBatchReader.from_batches(pyarrow.schema({"body": pyarrow.string()}), batches())
        with self.assertRaises(finch.DataError) as caught:
            _texts._read_stream(reader.__arrow_c_stream__())
        self.assertIn("the disk is gone", str(caught.exception))


class Refused(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = finch.Model.open(TINY_BERT)

    def test_what_is_no_text(self):
        for given, says in ((None, "None"), ("one", r"\[text\]"), (b"one", "bytes"), (3, "int"), ({"a": 1}, "dict"), (["a", None], r"texts\[1\] is None"),
                            ([b"a"], r"texts\[0\] is bytes"), (["a", "b", float("nan")], r"texts\[2\] is float")):
            with self.subTest(given), self.assertRaisesRegex(TypeError, says):
                self.model.score(given)

    def test_lone_surrogates(self):
        with self.assertRaisesRegex(finch.DataError, r"texts\[1\] has the lone surrogate U\+D83D at character 3") as caught:
            self.model.score(["good", "no \ud83d"])
        self.assertEqual((caught.exception.row, caught.exception.status), (1, "E_DATA"))
        self.assertIsInstance(caught.exception, ValueError)

    def test_options(self):
        for options in ({"threads": 0}, {"threads": -1}, {"threads": 1.5}, {"threads": 10**6}, {"max_tokens": 0}, {"max_tokens": 1}, {"max_tokens": True},
                        {"output": "labels"}):
            with self.subTest(options), self.assertRaises(finch.UsageError):
                self.model.score(["a"], **options)

    def test_models(self):
        with self.assertRaisesRegex(finch.NotFoundError, "finch fetch owner/no-such") as caught:
            finch.Model.open("owner/no-such")
        self.assertIsInstance(caught.exception, FileNotFoundError)
        for name in ("", "a\0b", 3):
            with self.subTest(name), self.assertRaises((finch.UsageError, TypeError)):
                finch.Model.open(name)
        with self.assertRaisesRegex(finch.UsageError, "compute"):
            finch.Model.open(TINY_BERT, compute="fp8")
        with tempfile.TemporaryDirectory(prefix="finch-python-") as folder:
            pathlib.Path(folder, "config.json").write_text("{")
            with self.assertRaisesRegex(finch.DataError, "config.json"):
                finch.Model.open(folder)
            snapshot = pathlib.Path(folder, "hub", "models--owner--name", "snapshots", "0" * 40)
            snapshot.parent.mkdir(parents=True)
            snapshot.symlink_to(TINY_BERT)
            (snapshot.parent.parent / "refs").mkdir()
            (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
            os.environ["HF_HOME"] = folder
            self.addCleanup(os.environ.pop, "HF_HOME")
            self.assertEqual(finch.Model.open("owner/name").info.path, str(snapshot))

    def test_a_library_that_is_missing_or_another(self):
        for library, says in (("/no/such/libfinch.so", "FINCH_LIBRARY"), ("libc.so.6", "another version")):
            done = subprocess.run([sys.executable, "-c", "import finch"], capture_output=True, text=True,
                                  env={**os.environ, "FINCH_LIBRARY": library, "PYTHONPATH": str(SOURCE / "python")})
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr.splitlines()[-1], f"^ImportError: .*{says}")

    def test_closed(self):
        with finch.Model.open(TINY_BERT) as model:
            self.assertFalse(model.closed)
        self.assertTrue(model.closed)
        model.close()
        for call in (model.score, model.sentiment, model.tokenize):
            with self.assertRaisesRegex(finch.UsageError, "closed"):
                call(["a"])
        self.assertIn("closed", repr(model))


class Threads(unittest.TestCase):
    """The interpreter is told never to switch by itself: whatever another thread does during a call it does because the call let
    go of the lock."""

    def setUp(self):
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        self.model = finch.Model.open()
        self.during, self.stop = False, False

    def beside(self, work):
        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(setattr, self, "stop", True)
        sys.setswitchinterval(1000)

    def long_call(self):
        self.during = True
        scores = self.model.score(LONG, threads=1)
        self.during = False
        return scores

    def test_python_runs_on_during_a_call(self):
        steps = 0

        def count():
            nonlocal steps
            while not self.stop:
                steps += self.during
                time.sleep(0)

        self.beside(count)
        self.long_call()
        self.assertGreater(steps, 10)

    def test_two_calls_at_once(self):
        whole = 0

        def score():
            nonlocal whole
            while not self.stop:
                began = self.during
                self.model.score(["$AAPL"], threads=1)
                whole += began and self.during

        self.beside(score)
        self.long_call()
        self.assertGreater(whole, 0)

    def test_a_model_that_is_closed_in_use_serves_the_call_to_its_end(self):
        closed = []

        def close():
            while self.model._calls == 0 and not self.stop:
                time.sleep(0.001)
            self.model.close()
            closed.append(self.during)

        expected = self.model.score(LONG[:5])
        self.beside(close)
        scores = self.long_call()
        self.assertEqual(closed, [True], "it was closed during the call")
        np.testing.assert_array_equal(scores[:5], expected)
        with self.assertRaises(finch.UsageError):
            self.model.score(LONG)

    def test_many_threads_get_the_same(self):
        expected = self.model.score(LONG[:64])
        wrong = []

        def score(begin):
            for n in range(1, 9):
                found = self.model.score(pyarrow.array(LONG[begin:begin + n * 4]), threads=1 + begin % 2)
                if not np.array_equal(found, expected[begin:begin + n * 4]):
                    wrong.append((begin, n))

        threads = [threading.Thread(target=score, args=(begin,)) for begin in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class Forks(unittest.TestCase):
    def child(self, work):
        """What a forked child's work gives: 0 where it is true."""
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            try:
                os._exit(0 if work() else 1)
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_a_child_scores_after_its_parent_has(self):
        model = finch.Model.open(TINY_BERT)
        expected = model.score(TWEETS)
        self.assertEqual(self.child(lambda: np.array_equal(model.score(TWEETS), expected)), 0)

        def refused():
            try:
                model.score(TWEETS, threads=2)
            except finch.UsageError as why:
                return "spawn" in str(why)
            return False

        self.assertEqual(self.child(refused), 0)


if __name__ == "__main__":
    unittest.main()
