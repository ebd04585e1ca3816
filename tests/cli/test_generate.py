"""finch generate: streams, rows in their order, seeds, schemas, and what it refuses. The model is a small random one with the tokenizer of
tests/fixtures/spm; beside transformers: tests/parity/test_generate.py."""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

from finch_cli import SOURCE, FolderTest, finch, finch_json

sys.path.insert(0, os.path.join(SOURCE, "tests", "parity"))
import gemma_models  # noqa: E402

PROMPTS = ["the stock market", "$AAPL up 3%", "é", "", "buy the dip " * 30, "sell"] * 3


class GenerateTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        cls.models = tempfile.TemporaryDirectory(prefix="finch-generate-")
        cls.model = cls.models.name
        gemma_models.random_model("Gemma3ForCausalLM", cls.model, seed=3, vocab_size=918, eos_token_id=1, max_position_embeddings=1024)
        shutil.copy(os.path.join(SOURCE, "tests", "fixtures", "spm", "tokenizer.json"), cls.model)

    @classmethod
    def tearDownClass(cls):
        cls.models.cleanup()

    def generate(self, *words, **more):
        return finch("generate", "--model", self.model, *words, **more)

    def rows(self, *words, prompts=PROMPTS):
        self.write("prompts.jsonl", "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        document = finch_json("generate", "--model", self.model, "--input", self.path("prompts.jsonl"), "--output", self.path("o.jsonl"), "--max-tokens", 12, *words)
        return document, [json.loads(line) for line in pathlib.Path(self.path("o.jsonl")).read_text().splitlines()]

    def test_one_prompt(self):
        streamed = self.generate("--prompt", "the stock", "--max-tokens", 15, "--quiet")
        self.assertEqual((streamed.returncode, streamed.stderr), (0, ""))
        document = finch_json("generate", "--model", self.model, "--prompt", "the stock", "--max-tokens", 15)
        answer = document["answers"][0]
        self.assertEqual(streamed.stdout, answer["text"] + "\n")
        self.assertLessEqual(answer["completion_tokens"], 15)
        self.assertEqual(document["completion_tokens"], answer["completion_tokens"])
        self.assertEqual(answer["finish_reason"], "length" if answer["completion_tokens"] == 15 else "stop")
        self.assertIn("tokens/s", self.generate("--prompt", "x", "--max-tokens", 2).stderr)

    def test_raw_chat_and_system_read_different_prompts(self):
        def n(*words):
            return finch_json("generate", "--model", self.model, "--prompt", "the stock", "--max-tokens", 1, *words)["prompt_tokens"]
        self.assertLess(n("--raw"), n())
        self.assertEqual(n("--raw"), n("--no-chat"))
        self.assertEqual(n("--chat"), n())
        self.assertLess(n(), n("--system", "Be short."))

    def test_rows_come_in_their_order_whatever_the_batch(self):
        first = None
        for batch in (1, 4, 16):
            document, rows = self.rows("--batch", batch, "--temperature", 0.9, "--seed", 5)
            self.assertEqual((document["answers_given"], len(rows)), (len(PROMPTS), len(PROMPTS)))
            self.assertEqual(document["completion_tokens"], sum(row["completion_tokens"] for row in rows))
            first = first or rows
            self.assertEqual(rows, first)
        self.assertNotEqual(first[0]["text"], first[6]["text"])  # each row draws for itself
        alone = finch_json("generate", "--model", self.model, "--prompt", PROMPTS[1], "--max-tokens", 12, "--temperature", 0.9, "--seed", 6)
        self.assertEqual(alone["answers"][0], first[1])

    def test_seeds_and_filters(self):
        def text(*words):
            return finch_json("generate", "--model", self.model, "--prompt", "the", "--max-tokens", 20, *words)["answers"][0]["text"]
        self.assertEqual(text("--temperature", 1, "--seed", 4), text("--temperature", 1, "--seed", 4))
        self.assertNotEqual(text("--temperature", 1, "--seed", 4), text("--temperature", 1, "--seed", 5))
        self.assertEqual(text("--temperature", 1, "--top-k", 1), text())
        self.assertEqual(text("--temperature", 1, "--top-p", 0.000001), text())

    def test_stop_words(self):
        whole = finch_json("generate", "--model", self.model, "--prompt", "the", "--max-tokens", 40)["answers"][0]["text"]
        stop = whole[8:11]
        done = self.generate("--prompt", "the", "--max-tokens", 40, "--stop", "never said", stop, "--quiet")
        self.assertEqual(done.stdout, whole[:whole.index(stop)] + "\n")

    def test_a_schema(self):
        schema = {"type": "object", "required": ["up", "why"], "properties": {"up": {"type": "boolean"}, "why": {"type": "string", "maxLength": 8}}}
        self.write("schema.json", json.dumps(schema))
        _, rows = self.rows("--schema", self.path("schema.json"), "--max-tokens", 300, "--temperature", 1)
        for row in rows:
            self.assertEqual(row["finish_reason"], "stop")
            answer = json.loads(row["text"])
            self.assertEqual(list(answer), ["up", "why"])
            self.assertLessEqual(len(answer["why"]), 8)

    def test_what_is_refused(self):
        self.write("bad.json", '{"type":"string","pattern":"a"}')
        self.write("p.jsonl", '{"prompt":"x"}\n')
        for words, code, said in (
            ((), 2, "--prompt"), (("--prompt", "x", "--input", self.path("p.jsonl")), 2, "either"), (("--prompt", "x", "--raw", "--chat"), 2, "--raw"),
            (("--prompt", "x", "--raw", "--system", "s"), 2, "--system"), (("--prompt", "x", "--output", "o"), 2, "--output"),
            (("--input", self.path("p.jsonl"), "--json"), 2, "--json"), (("--prompt", "x", "--top-p", "0"), 2, "top-p"),
            (("--prompt", "x", "--stop", *"abcdefghijklmnopqrst"), 2, "--stop"), (("--prompt", "x", "--schema", self.path("bad.json")), None, '"pattern"'),
            (("--prompt", "x " * 2000), 3, "tokens"), (("--prompt", "x", "--schema", self.path("none.json")), None, "none.json"),
        ):
            done = self.generate(*words)
            self.assertIn(said, done.stderr, words)
            self.assertNotEqual(done.returncode, 0)
            if code is not None:
                self.assertEqual(done.returncode, code, (words, done.stderr))
        self.write("long.jsonl", json.dumps({"prompt": "a"}) + "\n" + json.dumps({"prompt": "x " * 2000}) + "\n")
        done = self.generate("--input", self.path("long.jsonl"), "--output", self.path("out.jsonl"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("row 2", done.stderr)
        self.assertFalse(os.path.exists(self.path("out.jsonl")))

    def test_other_models_write_no_text(self):
        done = finch("generate", "--model", os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert"), "--prompt", "x")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("tiny-bert", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
