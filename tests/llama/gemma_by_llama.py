"""The next word after tweets, by finch and by llama.cpp, on the real Gemma 3 270M in Q8_0.

    FINCH_LLAMA_PYTHON=build/llama-venv/bin/python python tests/llama/gemma_by_llama.py

    FINCH_PROOF=full   all 200 tweets (default: 40)

llama.cpp rounds to int8 whatever it multiplies with blocks of whole numbers, so of the quantised file itself it gives no exact logits. The same
numbers as an F32 file it multiplies in f32: there the two have to choose the same words. On the quantised file each side has roundings of its own,
and a last bit that differs in one layer moves roundings in the next: how often the words are the same is printed beside how often llama.cpp
agrees with itself when it keeps its keys and values in f32 in place of f16.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests" / "parity"))
import gemma_models  # noqa: E402
import test_gemma  # noqa: E402

N = 200 if os.environ.get("FINCH_PROOF") == "full" else 40
SAME_EXACT = 0.99
SAME_INT8 = 0.9  # of 200 tweets some ten are near ties


def llama(model, texts, *more):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as given:
        json.dump(texts, given)
        given.flush()
        command = [os.environ["FINCH_LLAMA_PYTHON"], str(SOURCE / "bench" / "peers" / "llama_peer.py"), "top", str(model), "--texts", given.name, *more]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])["top"]


def finch(model, compute, texts):
    return test_gemma.driver(model, compute, "words", texts).argmax(axis=1).tolist()


def same(a, b):
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


class NextWordTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.texts, cls.path = gemma_models.frozen_ids()[:N], gemma_models.q8_0_file()

    def test_the_same_numbers_in_f32(self):
        with tempfile.TemporaryDirectory(prefix="finch-llama-") as place:
            folder, path = pathlib.Path(place) / "f32", pathlib.Path(place) / "f32.gguf"
            for source, target in ((self.path, folder), (folder, path)):
                subprocess.run([os.environ.get("FINCH", str(SOURCE / "build" / "finch")), "convert", "--model", str(source), "--output", str(target),
                                "--type", "f32", "--quiet"], check=True)
            theirs = llama(path, self.texts, "--exact")
        agree = same(finch(self.path, "f32", self.texts), theirs)
        print(f"270M, f32: {len(theirs)} tweets, the next word is llama.cpp's in {agree:.3f}", flush=True)
        self.assertGreaterEqual(agree, SAME_EXACT)

    def test_the_quantised_file(self):
        ours, theirs, again = finch(self.path, "int8", self.texts), llama(self.path, self.texts), llama(self.path, self.texts, "--exact")
        print(f"270M, Q8_0: {len(theirs)} tweets, the next word is llama.cpp's in {same(ours, theirs):.3f}; llama.cpp's own with keys and values in f32 in "
              f"{same(again, theirs):.3f}", flush=True)
        self.assertGreaterEqual(same(ours, theirs), SAME_INT8)


if __name__ == "__main__":
    unittest.main(verbosity=2)
