"""finch's Gemma 3 beside transformers': the real 270M from its GGUF file, and small random models of every shape and file type.

    FINCH_SOURCE=. python tests/parity/test_gemma.py

    FINCH_PROOF=full   all 200 tweets of the real model (default: 20)

Both sides compute in f32 from the same dequantised numbers. The token ids are frozen (gemma_models.py freeze-ids).
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import gemma_models
import numpy as np
import torch
from transformers import Gemma3ForCausalLM

torch.set_num_threads(1)
DRIVER = pathlib.Path(os.environ.get("FINCH", gemma_models.SOURCE / "build" / "finch")).parent / "parity_gemma_run"
N_REAL = 200 if os.environ.get("FINCH_PROOF") == "full" else 20
# A text's largest difference over its largest logit: f32 through 18 layers that add in another order. Seen: 2e-6.
REAL_MAX = 1e-4
SMALL_MAX = 2e-5
# Root mean square of the logits' error over that of the logits, in int8; seen 0.035, and llama.cpp's own is 0.037 on the same file.
REAL_INT8_MAX = 0.05
# Per-channel int8 weights and inputs in int8 by blocks; seen 0.02 on these wide random logits.
INT8_MAX = 0.05
# Of a GGUF's own blocks in int8: of the inputs' rounding alone.
BLOCKS_MAX = 0.03


def driver(model, compute, what, texts, prefix=None):
    """[n_texts, width] of each text's last token."""
    command = [str(DRIVER), str(model), compute, what] + ([str(prefix)] if prefix else [])
    lines = "".join(" ".join(map(str, ids)) + "\n" for ids in texts)
    done = subprocess.run(command, input=lines.encode(), capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return np.frombuffer(done.stdout, dtype=np.float32).reshape(len(texts), -1)


def reference(model, texts):
    """Logits of each text's last token, each text alone: no padding, no neighbours."""
    out = []
    with torch.inference_mode():
        for ids in texts:
            found = model(input_ids=torch.tensor([ids])).logits
            out.append((found[0, -1] if found.dim() == 3 else found[0]).float().numpy())
    return np.stack(out)


def apart(found, expected):
    """The largest over texts of: the largest difference over the largest magnitude."""
    return (np.abs(found - expected).max(axis=1) / np.abs(expected).max(axis=1)).max()


def random_texts(n, vocabulary, longest, seed=1):
    draw = np.random.default_rng(seed)
    return [draw.integers(0, vocabulary, draw.integers(1, longest + 1)).tolist() for _ in range(n)]


SHAPES = {
    "as they come": {},
    "one key head": {"num_key_value_heads": 1},
    "every head its keys": {"num_key_value_heads": 4},
    "a head wider than hidden / heads": {"head_dim": 24, "query_pre_attn_scalar": 40},
    "a head that is whole panels": {"head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 1},
    "a window of one": {"sliding_window": 1},
    "local layers only": {"sliding_window_pattern": 9},
    "the layers by name": {"layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]},
    "as the 4B, scaled positions": {
        "num_hidden_layers": 7, "sliding_window_pattern": 6, "hidden_size": 80, "num_attention_heads": 8,
        "num_key_value_heads": 4, "intermediate_size": 320, "sliding_window": 16,
        "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
}


class SmallTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="finch-gemma-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)

    def hold(self, folder, model, texts, what="words", limit=SMALL_MAX, compute="f32"):
        expected = reference(model, texts)
        found = driver(folder, compute, what, texts)
        self.assertEqual(found.shape, expected.shape)
        self.assertLess(apart(found, expected), limit)

    def in_f32(self, name):
        """As opened: a model that is converted later keeps the embedding's scale as bf16 rounded it."""
        return Gemma3ForCausalLM.from_pretrained(self.place / name, dtype=torch.float32).eval()

    def test_shapes(self):
        for index, (name, settings) in enumerate(SHAPES.items()):
            with self.subTest(name):
                folder = self.place / str(index)
                model = gemma_models.random_model("Gemma3ForCausalLM", folder, seed=index, **settings)
                self.hold(folder, model, random_texts(9, 320, 70, seed=index))

    def test_bf16_shards(self):
        gemma_models.random_model("Gemma3ForCausalLM", self.place / "m", dtype=torch.bfloat16, shard_size="60KB")
        self.assertTrue((self.place / "m" / "model.safetensors.index.json").is_file())
        self.hold(self.place / "m", self.in_f32("m"), random_texts(6, 320, 40))

    def test_a_model_in_bf16_scales_its_words_as_transformers_does(self):
        model = gemma_models.random_model("Gemma3ForCausalLM", self.place / "m", dtype=torch.bfloat16)
        texts = random_texts(6, 320, 20)
        found, expected = driver(self.place / "m", "bf16", "words", texts), reference(model, texts)
        self.assertLess(apart(found, expected), 0.08)
        self.assertLess(apart(driver(self.place / "m", "bf16x3", "words", texts), reference(self.in_f32("m"), texts)), 2e-3)

    def test_int8(self):
        model = gemma_models.random_model("Gemma3ForCausalLM", self.place / "m")
        self.hold(self.place / "m", model, random_texts(9, 320, 60), limit=INT8_MAX, compute="int8")

    def test_classifier(self):
        model = gemma_models.random_model("Gemma3TextForSequenceClassification", self.place / "m", labels=5)
        self.hold(self.place / "m", model, random_texts(9, 320, 40), what="classes")

    def test_classifier_of_the_multimodal_class(self):
        """text_config inside, another prefix, and a vision tower that is skipped."""
        model = gemma_models.random_multimodal_classifier(self.place / "m", labels=5)
        self.hold(self.place / "m", model, random_texts(9, 300, 40), what="classes")

    def test_names_of_the_multimodal_classes(self):
        """The text part under each of the prefixes that classes have saved it with, and text_config inside."""
        from safetensors.torch import load_file, save_file
        model = gemma_models.random_model("Gemma3ForCausalLM", self.place / "m")
        weights = load_file(self.place / "m" / "model.safetensors")
        config = json.loads((self.place / "m" / "config.json").read_text())
        texts = random_texts(4, 320, 30)
        for prefix in ("model.language_model.", "language_model.model.", "language_model."):
            with self.subTest(prefix):
                folder = self.place / prefix
                folder.mkdir()
                save_file({prefix + name.removeprefix("model."): value for name, value in weights.items()},
                          folder / "model.safetensors")
                (folder / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": config}))
                self.hold(folder, model, texts)

    def test_configurations_as_they_were_published(self):
        """rope_theta, rope_local_base_freq and rope_scaling, before rope_parameters took their place."""
        model = gemma_models.random_model("Gemma3ForCausalLM", self.place / "m", rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0}})
        path = self.place / "m" / "config.json"
        config = json.loads(path.read_text())
        del config["rope_parameters"], config["layer_types"]
        config.update(rope_theta=500000.0, rope_local_base_freq=20000.0, rope_scaling={"rope_type": "linear", "factor": 4.0},
                      sliding_window_pattern=3)
        config.pop("_sliding_window_pattern", None)
        path.write_text(json.dumps(config))
        self.hold(self.place / "m", model, random_texts(5, 320, 50))

    def test_gguf_types(self):
        import gemma_gguf
        for kind in gemma_gguf.TYPES:
            with self.subTest(kind):
                path = self.place / f"{kind}.gguf"
                model = gemma_gguf.write(path, kind)
                self.hold(path, model, random_texts(3, 320, 30))
                self.hold(path, model, random_texts(3, 320, 30), limit=INT8_MAX if kind in gemma_gguf.FLOATS else BLOCKS_MAX, compute="int8")

    def test_a_prefix_read_before_changes_no_bit(self):
        gemma_models.random_model("Gemma3ForCausalLM", self.place / "m")
        start = random_texts(1, 320, 1)[0] * 45
        texts = [start + more for more in random_texts(12, 320, 40)]
        for compute in ("f32", "int8"):
            whole = driver(self.place / "m", compute, "words", texts)
            shared = driver(self.place / "m", compute, "words", texts, prefix=len(start))
            alone = np.concatenate([driver(self.place / "m", compute, "words", [ids]) for ids in texts[:4]])
            self.assertEqual(whole.tobytes(), shared.tobytes(), compute)
            self.assertEqual(whole[:4].tobytes(), alone.tobytes(), compute)


class RealTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.texts = gemma_models.frozen_ids()[:N_REAL]
        cls.path = gemma_models.gguf_file()
        model = Gemma3ForCausalLM.from_pretrained(gemma_models.dequantised_folder(), dtype=torch.float32).eval()
        cls.expected = reference(model, cls.texts)

    def test_logits(self):
        found = driver(self.path, "f32", "words", self.texts)
        print(f"270M: {len(self.texts)} tweets, {found.shape[1]} logits each, worst difference over the largest logit "
              f"{apart(found, self.expected):.1e}", flush=True)
        self.assertLess(apart(found, self.expected), REAL_MAX)
        self.assertTrue((found.argmax(axis=1) == self.expected.argmax(axis=1)).all())

    def test_int8(self):
        found = driver(self.path, "int8", "words", self.texts)
        agree = (found.argmax(axis=1) == self.expected.argmax(axis=1)).mean()
        error = np.median(np.sqrt(((found - self.expected) ** 2).mean(axis=1) / (self.expected ** 2).mean(axis=1)))
        print(f"270M int8: worst difference over the largest logit {apart(found, self.expected):.3f}, of all logits {error:.3f}, "
              f"top-1 agrees {agree:.3f}", flush=True)
        self.assertGreaterEqual(agree, 0.9)
        self.assertLess(error, REAL_INT8_MAX)
        self.assertLess(apart(found, self.expected), 0.2)


if __name__ == "__main__":
    if not DRIVER.is_file():
        sys.exit(f"no {DRIVER}; run: make build")
    unittest.main(verbosity=2)
