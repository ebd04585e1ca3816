"""Generation beside its references: greedy answers and filters against transformers, answers held to a JSON schema against jsonschema.

    FINCH=build/finch python tests/parity/test_generate.py        (FINCH_PROOF=full: ten prompts of the real model, more schemas)
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

import gemma_models
import jsonschema
import numpy as np
import torch
from transformers import Gemma3ForCausalLM
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

torch.set_num_threads(1)
SOURCE = gemma_models.SOURCE
BUILD = pathlib.Path(os.environ.get("FINCH", SOURCE / "build" / "finch")).parent
RUN = BUILD / "parity_generate_run"
TOKENIZER = SOURCE / "tests" / "fixtures" / "spm"
FULL = os.environ.get("FINCH_PROOF") == "full"
TIE = 1e-3  # of the two best logits: closer ones may come out either way (logits agree to 1e-4 of the largest)


def run(*words, given=b""):
    done = subprocess.run([str(RUN), *map(str, words)], input=given, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"{words}: {done.returncode} {done.stderr.decode()}")
    return done.stdout.decode()


# ---- greedy -----------------------------------------------------------------------------------------------------------


def greedy(model, prompt, n, ends):
    """(ids, whether the text ended) as generate gives them, one token at a time."""
    with torch.inference_mode():
        out = model.generate(torch.tensor([prompt]), max_new_tokens=n, do_sample=False, eos_token_id=sorted(ends), pad_token_id=0, top_k=None, top_p=None)
    ids = out[0, len(prompt):].tolist()
    return ids[:-1] if ids and ids[-1] in ends else ids


def compare_greedy(case, folder, model, prompts, n, ends, tie):
    """How many answers parted at a near-tie; any other difference fails."""
    given = "".join(" ".join(map(str, prompt)) + "\n" for prompt in prompts).encode()
    lines = run("answer", folder, "f32", n, 0, 0, given=given).splitlines()
    case.assertEqual(len(lines), len(prompts))
    ties = 0
    for prompt, text in zip(prompts, lines):
        words = text.split()
        found, gaps = [int(word) for word in words[::2]], [float(word) for word in words[1::2]]
        expected = greedy(model, prompt, n, ends)
        if found == expected:
            continue
        at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
        gap = gaps[at] if at < len(gaps) else float("inf")
        case.assertLess(gap, tie, f"after {len(prompt)}+{at} tokens: {found} is not {expected}")
        ties += 1
    return ties


class GreedyTest(unittest.TestCase):
    def test_random_models(self):
        draw = random.Random(4)
        with tempfile.TemporaryDirectory(prefix="finch-generate-") as place:
            folder = pathlib.Path(place)
            model = gemma_models.random_model("Gemma3ForCausalLM", folder, seed=2, vocab_size=918, eos_token_id=1)
            shutil.copy(TOKENIZER / "tokenizer.json", folder)
            prompts = [[2] + [draw.randrange(20, 918) for _ in range(n)] for n in (1, 3, 30, 90, 7, 7, 7)]
            prompts.append(prompts[3] + [50])
            compare_greedy(self, folder, model, prompts, 40, {1, 7}, 1e-4)

    def test_real_model(self):
        tweets = [ids for ids in gemma_models.frozen_ids() if len(ids) > 6]
        prompts = [ids[:len(ids) - i % 3] for i, ids in enumerate(tweets[:10 if FULL else 2])]
        n = 32 if FULL else 6
        # The GGUF file itself: finch widens its blocks to the same f32 that the folder for transformers holds.
        model = Gemma3ForCausalLM.from_pretrained(gemma_models.dequantised_folder(), dtype=torch.float32).eval()
        ties = compare_greedy(self, gemma_models.gguf_file(), model, prompts, n, {1, 106}, TIE)
        print(f"{len(prompts)} prompts x {n} tokens, {ties} parted where the two best logits are within {TIE}")
        self.assertLessEqual(ties, len(prompts) // 3)


# ---- filters ------------------------------------------------------------------------------------------------------------


class FilterTest(unittest.TestCase):
    def expected(self, logits, temperature, top_k, top_p):
        scores = TemperatureLogitsWarper(temperature)(None, torch.from_numpy(logits)[None])
        if top_k:
            scores = TopKLogitsWarper(top_k)(None, scores)
        before = torch.softmax(scores, -1)[0].numpy().astype(np.float64)
        if top_p < 1:
            scores = TopPLogitsWarper(top_p)(None, scores)
        return set(torch.isfinite(scores[0]).nonzero()[:, 0].tolist()), before

    def test_kept_tokens(self):
        draw = np.random.default_rng(8)
        for n in (1, 2, 50, 5000):
            logits = draw.normal(0, 3, n).astype(np.float32)
            if n == 50:
                logits = np.round(logits)  # with equals at the border
            for temperature in (0.3, 1.0, 1.7):
                for top_k in (0, 1, 5, 40, 10**6):
                    for top_p in (0.05, 0.5, 0.9, 0.999, 1.0):
                        if n == 50 and top_p < 1:
                            continue  # which of equals the reference keeps is its sort's affair
                        found = set(map(int, run("filter", temperature, top_k, top_p, given=logits.tobytes()).split()))
                        expected, weights = self.expected(logits, temperature, top_k, top_p)
                        border = [weights[i] for i in found ^ expected]
                        # The reference adds in f32: one token at the border may fall on the other side.
                        self.assertTrue(len(border) == 0 or (n == 5000 and len(border) == 1 and border[0] < 1e-4),
                                        (n, temperature, top_k, top_p, found ^ expected))


# ---- forms --------------------------------------------------------------------------------------------------------------

WORDS = ["a", "b", "label", "n", "reason", "é", "x y", "\"", "null", "labels"]


def random_value(draw):
    return draw.choice([1, 12, 1.5, -3, True, None, "POSITIVE", "NEGATIVE", "POS", "日本", "a\"b\\", [1, "x"], {"k": None}])


def random_schema(draw, depth=0):
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "range"]
    if depth < 4:
        kinds += ["object", "array", "anyOf"] * (4 if depth == 0 else 2) + ["types", "any", "map"]
    kind = draw.choice(kinds)
    if kind == "string":
        least = draw.choice([0, 0, 1, 4])
        return {"type": "string", **({"minLength": least} if least else {}), **({"maxLength": least + draw.randrange(9)} if draw.random() < 0.6 else {})}
    if kind == "enum":
        return {"enum": [random_value(draw) for _ in range(draw.randrange(1, 5))]}
    if kind == "const":
        return {"const": random_value(draw), "title": "said once"}
    if kind == "range":
        least = draw.randrange(-12, 12)
        return {"type": "integer", "minimum": least, "maximum": least + draw.randrange(30)}
    if kind == "array":
        least = draw.choice([0, 0, 1, 3])
        return {"type": "array", "items": random_schema(draw, depth + 1), "minItems": least, **({"maxItems": least + draw.randrange(4)} if draw.random() < 0.8 else {})}
    if kind == "object":
        names = draw.sample(WORDS, draw.randrange(0, 5))
        return {"type": "object", "properties": {name: random_schema(draw, depth + 1) for name in names},
                "required": [name for name in names if draw.random() < 0.6], "additionalProperties": draw.random() < 0.3}
    if kind == "anyOf":
        return {"anyOf": [random_schema(draw, depth + 1) for _ in range(draw.randrange(1, 4))]}
    if kind == "types":
        return {"type": draw.sample(["string", "integer", "null", "array", "object"], 2), "maxLength": 3}
    if kind == "any":
        return {}
    if kind == "map":
        return {"type": "object", "additionalProperties": random_schema(draw, depth + 1)}
    return {"type": kind}


def answers(schemas, seed, n_tokens=300):
    given = "".join(json.dumps(schema, ensure_ascii=False) + "\n" for schema in schemas).encode()
    return [json.loads(line) for line in run("form", TOKENIZER, seed, n_tokens, given=given).splitlines()]


class FormTest(unittest.TestCase):
    def test_random_logits_give_what_the_schema_says(self):
        draw = random.Random(19)
        schemas = [random_schema(draw) for _ in range(1500 if FULL else 250)]
        whole = 0
        for seed in range(4 if FULL else 1):
            found = answers(schemas, seed)
            self.assertEqual(len(found), len(schemas))
            for schema, answer in zip(schemas, found):
                self.assertNotIn("error", answer, schema)
                if not answer["whole"]:
                    continue  # out of tokens: generation ends it as "length"
                whole += 1
                value = json.loads(answer["text"])
                jsonschema.Draft202012Validator(schema).validate(value)
                if "enum" in schema:
                    self.assertIn(value, schema["enum"])
        self.assertGreater(whole, 0.8 * len(schemas) * (4 if FULL else 1))

    def test_what_finch_label_asks_for(self):
        label = {"type": "string", "enum": ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]}
        for number, bounds in (({"type": "integer"}, {"maxItems": 9}), ({"type": "integer", "enum": list(range(1, 21))}, {"minItems": 20, "maxItems": 20})):
            row = {"type": "object", "properties": {"n": number, "label": label}, "required": ["n", "label"], "additionalProperties": False}
            schema = {"type": "object", "properties": {"labels": {"type": "array", "items": row, **bounds}}, "required": ["labels"], "additionalProperties": False}
            for answer in answers([schema] * 5, 3, 3000):
                self.assertTrue(answer["whole"], answer)
                jsonschema.validate(json.loads(answer["text"]), schema)

    def test_a_model_of_pydantic(self):
        import pydantic

        class Row(pydantic.BaseModel):
            n: int
            confidence: float | None = None

        class Answer(pydantic.BaseModel):
            rows: list[Row]
            note: str = pydantic.Field(max_length=8)
        for answer in answers([Answer.model_json_schema()] * 10, 5):
            if answer["whole"]:
                Answer.model_validate_json(answer["text"])
        self.assertTrue(any(answer["whole"] for answer in answers([Answer.model_json_schema()] * 10, 5)))

    def test_what_is_not_read_is_refused_by_name(self):
        refused = {
            "pattern": {"type": "string", "pattern": "a"}, "format": {"type": "string", "format": "date"}, "oneOf": {"oneOf": [{}]}, "allOf": {"allOf": [{}]},
            "not": {"not": {}}, "uniqueItems": {"type": "array", "uniqueItems": True}, "prefixItems": {"type": "array", "prefixItems": [{}]},
            "multipleOf": {"type": "integer", "multipleOf": 2}, "exclusiveMinimum": {"type": "integer", "exclusiveMinimum": 2},
            "patternProperties": {"type": "object", "patternProperties": {}}, "dependentRequired": {"type": "object", "dependentRequired": {}},
            "minimum": {"type": "number", "minimum": 0}, "maximum": {"type": "integer", "maximum": 5}, "maxLength": {"enum": ["a"], "maxLength": 3},
            "items": {"items": {}}, "minProperties": {"type": "object", "minProperties": 1}, "if": {"if": {}}, "#/$defs/x": {"$ref": "#/$defs/x"},
            "additionalProperties": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}, "deep": {"type": "object", "required": ["deep"]},
        }
        for name, answer in zip(refused, answers([{"type": "array", "items": schema} for schema in refused.values()], 1)):
            self.assertIn(f'"{name}"', answer.get("error", ""), name)
            self.assertIn("$.items", answer["error"])

    def test_schemas_that_nothing_fits(self):
        wrong = [{"type": "array", "minItems": 2, "maxItems": 1}, {"type": "string", "minLength": 5, "maxLength": 4}, {"enum": []}, {"type": "integer", "enum": ["a"]},
                 {"type": "text"}, {"type": []}, {"type": "string", "maxLength": -1}, {"properties": [], "type": "object"}, 3,
                 {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, {"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}]
        for schema, answer in zip(wrong, answers(wrong, 1)):
            self.assertIn("error", answer, schema)


if __name__ == "__main__":
    unittest.main(verbosity=2)
