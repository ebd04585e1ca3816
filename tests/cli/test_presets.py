"""finch train --preset: each preset gives exactly the settings that it is documented with, is overridden by what is written, runs on a
small model, and is told in the card."""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

from finch_cli import SOURCE, finch, finch_json

sys.path.insert(0, os.path.join(SOURCE, "tests", "parity"))
import gemma_models  # noqa: E402
import numpy as np  # noqa: E402

FIXTURES = pathlib.Path(SOURCE) / "tests" / "fixtures" / "models"
LABELS = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
WORDS = "stock up down crash record buy sell dividend call the a of to and".split()
SEVERAL = "macro_f1 or mcc or accuracy better, log_loss not 5% worse"
FINBERT = {"epochs": "6", "batch": "32", "learning-rate": "2e-5", "warmup": "0.2", "schedule": "linear", "weight-decay": "0.01", "clip": "1",
           "class-weights": "sqrt", "max-tokens": "128", "stop": "macro_f1 or mcc better, log_loss not 2% worse", "patience": "3"}
# What the issue asks of each, and what docs/train.md tells of the rest.
PRESETS = {
    "gemma-3-12b-lora-8bit": {"lora": "yes", "base": "int8", "lora-rank": "8", "lora-alpha": "16", "lora-dropout": "0.1", "lora-targets": "q_proj,v_proj",
                              "batch": "8", "learning-rate": "1e-5", "warmup": "0.1", "schedule": "linear", "clip": "1", "stop": SEVERAL, "patience": "3"},
    "gamma-3-lora": {"lora": "yes", "base": "float", "lora-rank": "16", "lora-alpha": "32", "lora-dropout": "0.05",
                     "lora-targets": "q_proj,k_proj,v_proj,o_proj", "batch": "8", "learning-rate": "2e-4", "warmup": "0.1", "schedule": "linear",
                     "clip": "1", "stop": SEVERAL, "patience": "3"},
    "finbert": FINBERT,
    "finbert-dapt": {"adapt-domain": "yes", "domain-epochs": "2", "domain-learning-rate": "5e-5", "domain-mask": "0.15", **FINBERT},
}


class Presets(unittest.TestCase):
    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="finch-presets-"))
        self.addCleanup(shutil.rmtree, self.place, True)
        draw = np.random.default_rng(6)
        for name, n in (("train", 96), ("valid", 24)):
            with (self.place / f"{name}.csv").open("w") as out:
                out.write("text,label\n")
                for _ in range(n):
                    label = int(draw.integers(0, 5))
                    out.write(" ".join([WORDS[label], *(WORDS[i] for i in draw.integers(5, len(WORDS), draw.integers(1, 9)))]) + f",{LABELS[label]}\n")

    def gemma(self):
        base = self.place / "gemma"
        gemma_models.random_model("Gemma3ForCausalLM", base)
        (base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS) + "\n")
        return base

    def words(self, preset, base, *more):
        return ("train", "--preset", preset, "--model", base, "--train", self.place / "train.csv", "--valid", self.place / "valid.csv",
                "--output", self.place / "out", "--epochs", 1, *more)

    def run_preset(self, preset, base, *more):
        """The card, whose settings must be the preset's."""
        card = finch_json(*self.words(preset, base, *more))
        told = card["preset"]
        self.assertEqual(told["name"], preset)
        expected = dict(PRESETS[preset])
        if "epochs" in expected:
            expected["epochs"] = "1"
            self.assertIn("epochs", told["overridden"])
        for option, value in zip(more[::2], more[1::2]):
            if option[2:] in expected:
                expected[option[2:]] = str(value)
        self.assertEqual(told["settings"], expected)
        self.assertEqual(json.loads((self.place / "out" / "finch.json").read_text())["preset"], told)
        return card

    def test_the_list(self):
        found = {one["name"]: one for one in finch_json("train", "--list-presets")["presets"]}
        self.assertEqual(list(found), list(PRESETS))
        text = finch("train", "--list-presets")
        self.assertEqual(text.returncode, 0, text.stderr)
        page = (pathlib.Path(SOURCE) / "docs" / "train.md").read_text(encoding="utf-8")
        for name, settings in PRESETS.items():
            self.assertEqual({one["option"]: one["value"] for one in found[name]["settings"]}, settings, name)
            self.assertIn(f"`{name}`", page)
            for one in found[name]["settings"]:
                self.assertGreater(len(one["why"]), 20, one)
                self.assertIn(one["why"], text.stdout)
                written = f"`--{one['option']}`" if one["value"] == "yes" else f"`--{one['option']} {one['value']}`"
                self.assertIn(written, page, name)

    def test_eight_bits(self):
        card = self.run_preset("gemma-3-12b-lora-8bit", self.gemma())
        h = card["hyperparameters"]
        self.assertEqual([h["lora"][key] for key in ("rank", "alpha", "dropout", "targets")], [8, 16.0, 0.1, "q_proj,v_proj"])
        self.assertEqual([h[key] for key in ("batch", "learning_rate", "max_grad_norm", "warmup", "schedule", "patience", "stop_rule")],
                         [8, 1e-5, 1.0, 0.1, "linear", 3, SEVERAL])
        config = json.loads((self.place / "out.base" / "config.json").read_text())
        self.assertIn("quantization_config", config)
        adapter = json.loads((self.place / "out" / "adapter_config.json").read_text())
        self.assertEqual(pathlib.Path(adapter["base_model_name_or_path"]), (self.place / "out.base").resolve())
        self.assertEqual((adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"], adapter["target_modules"]), (8, 16.0, 0.1, ["q_proj", "v_proj"]))
        # The base that was made is taken as it is; a second run does not overwrite it unasked.
        shutil.rmtree(self.place / "out")
        self.assertIn("out.base", finch(*self.words("gemma-3-12b-lora-8bit", self.place / "gemma")).stderr)
        self.run_preset("gemma-3-12b-lora-8bit", self.place / "out.base")

    def test_a_small_gemma(self):
        base = self.gemma()
        card = self.run_preset("gamma-3-lora", base, "--lora-rank", 4)
        self.assertEqual(card["preset"]["overridden"], ["lora-rank"])
        h = card["hyperparameters"]
        self.assertEqual([h["lora"][key] for key in ("rank", "alpha", "dropout", "targets")], [4, 32.0, 0.05, "q_proj,k_proj,v_proj,o_proj"])
        self.assertEqual([h["stop_rule"], h["patience"], h["learning_rate"]], [SEVERAL, 3, 2e-4])
        self.assertEqual(finch("quantize", "--model", base, "--output", self.place / "int8", "--quiet").returncode, 0)
        shutil.rmtree(self.place / "out")
        done = finch(*self.words("gamma-3-lora", self.place / "int8"))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("quantised", done.stderr)

    def test_finbert(self):
        card = self.run_preset("finbert", FIXTURES / "tiny-bert", "--batch", 16)
        h = card["hyperparameters"]
        self.assertEqual([h[key] for key in ("batch", "learning_rate", "warmup", "class_weights", "max_tokens", "weight_decay")], [16, 2e-5, 0.2, "sqrt", 128, 0.01])
        done = finch(*self.words("finbert", FIXTURES / "tiny-bert", "--resume"))
        self.assertEqual(done.returncode, 2, "another batch is another run")
        self.assertIn("preset finbert", done.stderr)
        self.assertIn("--epochs 1  (yours)", done.stderr)

    def test_domain_pretraining_and_fine_tuning_in_one_command(self):
        domain = self.place / "tweets.csv"
        domain.write_text("body\n" + "".join(f"{WORDS[i % 14]} {WORDS[(3 * i) % 14]} call number {i}\n" for i in range(200)))
        more = ("--domain", domain, "--domain-column", "body", "--domain-hold-out", 0.1)
        card = self.run_preset("finbert-dapt", FIXTURES / "tiny-bert", *more)
        base = card["base_card"]
        self.assertEqual(base["task"], "fill-mask")
        self.assertEqual([base["hyperparameters"][key] for key in ("epochs", "learning_rate", "masked_share")], [2, 5e-5, 0.15])
        self.assertEqual(base["data"]["input"][0]["rows"], 200)
        self.assertEqual(card["base_model"], "out.domain")
        self.assertEqual([card["hyperparameters"][key] for key in ("learning_rate", "class_weights")], [2e-5, "sqrt"])
        done = finch(*self.words("finbert-dapt", FIXTURES / "tiny-bert", *more, "--resume"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("complete already", done.stderr)

    def test_without_a_domain_the_training_texts_are_it(self):
        card = self.run_preset("finbert-dapt", FIXTURES / "tiny-bert", "--domain-hold-out", 0.2)
        self.assertEqual(card["base_card"]["data"]["input"][0]["file"], "train.csv")

    def test_what_can_not_be_is_told(self):
        for words, told in ((self.words("gama-3-lora", "none"), "gamma-3-lora"), (self.words("finbert", "none", "--base", "int8"), "none"),
                            (("train", "--preset", "finbert"), "--model")):
            done = finch(*words)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(told, done.stderr)
        done = finch(*self.words("finbert-dapt", FIXTURES / "tiny-bert", "--lora"))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("--lora", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
