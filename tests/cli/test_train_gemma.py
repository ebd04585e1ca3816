"""finch train of all weights of a small random Gemma 3: what comes out scores as in transformers, becomes int8, resumes to the same bits
after a kill; bases of every kind are taken, and what can not be is told before any work."""
import json
import os
import pathlib
import unittest

import test_train_lora
from finch_cli import finch, finch_json
from test_train_lora import WORDS, gemma_models, np, torch


class Whole(test_train_lora.Trained, unittest.TestCase):
    how, files = (), ("model.safetensors", "config.json")

    def make_base(self):
        gemma_models.random_model("Gemma3ForCausalLM", self.base, dtype=torch.bfloat16)
        self.add_words(self.base)

    def add_words(self, folder):
        (pathlib.Path(folder) / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS) + "\n")

    def transformers_logits(self, folder):
        from transformers import Gemma3TextForSequenceClassification
        ids = self.place / "ids.jsonl"
        self.run_finch("tokenize", "--model", folder, "--input", self.valid, "--text-column", "text", "--output", ids, "--quiet")
        model = Gemma3TextForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.inference_mode():
            return np.concatenate([model(input_ids=torch.tensor([json.loads(line)["ids"]])).logits.numpy() for line in ids.read_text().splitlines()])

    def test_what_comes_out_scores_as_in_transformers(self):
        card = finch_json(*self.words("out", "--epochs", 12, "--learning-rate", "0.003"))
        self.assertGreater(card["metrics"]["accuracy"], 0.5)
        self.assertNotIn("lora", card["hyperparameters"])
        self.assertLess(np.abs(self.logits(self.place / "out") - self.transformers_logits(self.place / "out")).max(), 1e-4)
        report = finch_json("eval", "--model", self.place / "out", "--data", self.valid)
        self.assertAlmostEqual(report["accuracy"], card["metrics"]["accuracy"], 6)

    def test_what_comes_out_becomes_int8(self):
        self.run_finch(*self.words("out", "--epochs", 8, "--learning-rate", "0.003"), "--quiet")
        folder = self.place / "out"
        expected = self.logits(folder)
        self.run_finch("quantize", "--model", folder, "--output", self.place / "int8", "--quiet")
        self.assertLess(np.abs(self.logits(self.place / "int8") - expected).max() / np.abs(expected).max(), 0.3)
        card = finch_json(*self.words("small", "--epochs", 2, "--quantize", "int8", "--bf16", "--checkpoint-activations"))
        self.assertEqual(card["weights"], "int8")
        self.assertEqual(self.logits(self.place / "small").shape, expected.shape)

    def test_bases_of_every_kind(self):
        """int8 rows; a Gemma with images, of which the text part is saved."""
        self.run_finch("quantize", "--model", self.base, "--output", self.place / "int8", "--quiet")
        gemma_models.random_multimodal_classifier(self.place / "images", 5)
        self.add_words(self.place / "images")
        for name in ("int8", "images"):
            words = [str(self.place / name) if word == str(self.base) else word for word in self.words(f"of-{name}", "--max-steps", 4, "--learning-rate", "1e-4")]
            self.run_finch(*words, "--quiet")
            config = json.loads((self.place / f"of-{name}" / "config.json").read_text())
            self.assertEqual(config["model_type"], "gemma3_text")
            self.assertNotIn("quantization_config", config)
            self.assertLess(np.abs(self.logits(self.place / f"of-{name}") - self.transformers_logits(self.place / f"of-{name}")).max(), 1e-4, name)

    def make_hollow(self, folder, layers):
        """A Gemma whose file has a header and no bytes on the disk: zeros, 1.5 GiB a layer where all learn."""
        hidden, wide = 1024, 32768
        config = json.loads((self.base / "config.json").read_text())
        config.update(hidden_size=hidden, intermediate_size=wide, num_hidden_layers=layers)
        config.pop("layer_types")
        names = {"input_layernorm": [hidden], "post_attention_layernorm": [hidden], "pre_feedforward_layernorm": [hidden], "post_feedforward_layernorm": [hidden],
                 "self_attn.q_norm": [16], "self_attn.k_norm": [16], "self_attn.q_proj": [64, hidden], "self_attn.k_proj": [32, hidden],
                 "self_attn.v_proj": [32, hidden], "self_attn.o_proj": [hidden, 64], "mlp.gate_proj": [wide, hidden], "mlp.up_proj": [wide, hidden],
                 "mlp.down_proj": [hidden, wide]}
        shapes = {f"model.layers.{i}.{name}.weight": shape for i in range(layers) for name, shape in names.items()}
        shapes.update({"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]})
        header, at = {}, 0
        for name, shape in shapes.items():
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + 2 * int(np.prod(shape))]}
            at = header[name]["data_offsets"][1]
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        with (folder / "model.safetensors").open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.truncate(8 + len(text) + at)
        self.add_words(folder)

    def test_a_model_that_does_not_fit_the_machine_is_refused(self):
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        layers = there // (3 << 29) + 1
        if layers > 256:
            self.skipTest("more memory than the largest model that a configuration can describe")
        self.make_hollow(self.place / "hollow", layers)
        said = self.run_finch(*[str(self.place / "hollow") if word == str(self.base) else word for word in self.words("none")], code=1)
        self.assertIn("GiB", said)
        self.assertIn("--lora", said)
        self.assertFalse((self.place / "none").exists())

    def test_what_can_not_be_is_told(self):
        for more, code, words in ((("--dropout", "0.1"), 3, "without dropout"), (("--bf16x3",), 2, "bf16x3")):
            self.assertIn(words, self.run_finch(*self.words("none", *more), code=code))
        given = self.words("none", "--checkpoint-activations")
        bert = os.path.join(test_train_lora.SOURCE, "tests", "fixtures", "models", "tiny-bert")
        self.assertIn("Gemma 3", self.run_finch(*[bert if word == str(self.base) else word for word in given], code=2))
        done = finch("pretrain", "--model", self.base, "--input", self.train, "--output", self.place / "none")
        self.assertIn("masked words", done.stderr)
        self.assertFalse((self.place / "none").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
