"""Adapters beside a frozen BERT or MPNet, held against PEFT: 30 steps without dropout follow its loss, what finch saves gives the same
logits in PEFT and what PEFT saves gives them in finch, on bases in f32, bf16 and int8.

    FINCH_SOURCE=. python tests/parity/test_lora_bert.py
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
from lora_peft import DRIVER, LOGITS_MAX, LOSS_MAX, PROGRAM, SOURCE, STEPS, finch, logits_of, peft_train
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

torch.set_num_threads(1)
FIXTURES = SOURCE / "tests" / "fixtures" / "models"
LABELS = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
EVERY = {"tiny-bert": "query,key,value,dense", "tiny-mpnet": "q,k,v,o,intermediate.dense,output.dense"}


def make_texts(n, longest=30, seed=2):
    """Ids between the special ones; the first after them decides the class, so that there is something to learn."""
    draw = np.random.default_rng(seed)
    texts = []
    for _ in range(n):
        label = int(draw.integers(0, 5))
        texts.append((label, [2, 103 + label, *draw.integers(110, 1900, draw.integers(1, longest)).tolist(), 3]))
    return texts


def open_base(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=5, dtype=torch.float32, attn_implementation="eager",
                                                              ignore_mismatched_sizes=True)


class LoraBertTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="finch-lora-bert-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)

    def follow(self, name, targets, base=None, peft_base=None, steps=STEPS, rate=2e-3):
        texts = make_texts(40)
        base = base or FIXTURES / name
        out = self.place / f"out-{name}-{len(list(self.place.iterdir()))}"
        losses, logits = finch(base, steps, rate, targets, out, texts)
        model = PeftModel.from_pretrained(open_base(peft_base or base), out / "start", is_trainable=True)
        learnt = {n for n, p in model.named_parameters() if p.requires_grad}
        expected = peft_train(model.eval(), texts, steps, rate)  # no dropout anywhere
        if steps == STEPS:
            self.assertLess(expected[-1], expected[0], "nothing was learnt: this test would see no gradient")
        self.assertLess(np.abs(losses - expected).max(), LOSS_MAX, name)
        self.assertLess(np.abs(logits - logits_of(model, texts)).max(), 20 * LOSS_MAX)
        again = PeftModel.from_pretrained(open_base(peft_base or base), out / "end").eval()
        self.assertLess(np.abs(logits - logits_of(again, texts)).max(), LOGITS_MAX)
        stored = load_file(out / "end" / "adapter_model.safetensors")
        self.assertEqual(len(stored), len(learnt), "PEFT trains other tensors than finch")
        return out, texts, losses, logits

    def test_every_linear_layer_follows_peft(self):
        for name, targets in EVERY.items():
            with self.subTest(name):
                self.follow(name, targets)

    def test_one_kind_of_layer_at_a_time(self):
        for name, targets in EVERY.items():
            for target in targets.split(","):
                with self.subTest(f"{name} {target}"):
                    self.follow(name, target, steps=6)

    def test_a_base_in_bf16(self):
        model = open_base(FIXTURES / "tiny-bert").to(torch.bfloat16)
        base = self.place / "bf16"
        model.save_pretrained(base)
        for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
            if (FIXTURES / "tiny-bert" / name).is_file():
                shutil.copy(FIXTURES / "tiny-bert" / name, base)
        self.follow("bf16", "query,value", base=base)

    def test_a_base_in_int8(self):
        """The peer's base are the same int8 weights times their scales."""
        base, floats = self.place / "int8", self.place / "floats"
        subprocess.run([PROGRAM, "quantize", "--model", str(FIXTURES / "tiny-bert"), "--output", str(base), "--quiet"], check=True)
        shutil.copytree(FIXTURES / "tiny-bert", floats)
        stored = load_file(base / "model.safetensors")
        self.assertTrue(any(value.dtype == torch.int8 for value in stored.values()))
        save_file({name: value.float() * stored[name + "_scale"] if value.dtype == torch.int8 else value
                   for name, value in stored.items() if not name.endswith("_scale")}, floats / "model.safetensors", metadata={"format": "pt"})
        self.follow("int8", "query,value", base=base, peft_base=floats)

    def test_products_in_bf16_stay_near(self):
        texts = make_texts(40)
        exact, _ = finch(FIXTURES / "tiny-bert", STEPS, 2e-3, "query,value", self.place / "f32", texts)
        near, _ = finch(FIXTURES / "tiny-bert", STEPS, 2e-3, "query,value", self.place / "bf16", texts, extra=("bf16",))
        self.assertFalse(np.array_equal(exact, near), "nothing was rounded")
        self.assertLess(np.abs(exact - near).max(), 0.03)

    def test_checkpointed_activations_change_no_bit(self):
        for name, targets in EVERY.items():
            found = [finch(FIXTURES / name, 8, 2e-3, targets, self.place / f"{name}{again}", make_texts(40), again, ("f32", "0.1"))
                     for again in (False, True)]
            for one, other in zip(*found):
                self.assertEqual(one.tobytes(), other.tobytes(), name)

    # ---- what is written and read ----

    def scored(self, folder, texts, compute="f32"):
        """The logits of finch score: its rows are texts, so ids go through the vocabulary's words."""
        words = (FIXTURES / "tiny-bert" / "vocab.txt").read_text(encoding="utf-8").splitlines()
        plain = [i for i, word in enumerate(words) if word.isalpha() and word.isascii() and i > 110]
        rows = [" ".join(words[plain[i % len(plain)]] for i in ids) for _, ids in texts]
        source, target = self.place / "texts.jsonl", self.place / "scored.jsonl"
        source.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
        done = subprocess.run([PROGRAM, "score", "--model", str(folder), "--input", str(source), "--text-column", "text", "--output", str(target),
                               "--logits", "--compute", compute, "--quiet"], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        found = [json.loads(line) for line in target.read_text().splitlines()]
        names = [key for key in found[0] if key.startswith("logit_")]
        self.assertEqual(len(names), 5)
        ids = self.place / "ids.jsonl"
        subprocess.run([PROGRAM, "tokenize", "--model", str(folder), "--input", str(source), "--text-column", "text", "--output", str(ids), "--quiet"], check=True)
        return np.array([[row[key] for key in names] for row in found]), [(0, json.loads(line)["ids"]) for line in ids.read_text().splitlines()]

    def test_what_finch_saves_scores_as_in_peft(self):
        for name, targets in EVERY.items():
            with self.subTest(name):
                out = self.place / name
                finch(FIXTURES / name, 4, 2e-2, targets, out, make_texts(16))
                found, ids = self.scored(out / "end", make_texts(12))
                model = PeftModel.from_pretrained(open_base(FIXTURES / name), out / "end").eval()
                self.assertLess(np.abs(found - logits_of(model, ids)).max(), LOGITS_MAX)
                for compute in ("int8", "bf16", "bf16x3"):
                    near, _ = self.scored(out / "end", make_texts(12), compute)
                    self.assertLess(np.abs(found - near).max() / np.abs(found).max(), 0.1, compute)

    def test_what_peft_saves_scores_the_same(self):
        """Its folder has neither config.json nor a tokenizer: those of the base are taken."""
        for name, targets in EVERY.items():
            with self.subTest(name):
                base = self.place / f"base-{name}"
                shutil.copytree(FIXTURES / name, base)
                model = get_peft_model(open_base(base), LoraConfig(task_type="SEQ_CLS", r=5, lora_alpha=20, use_rslora=name == "tiny-bert",
                                                                   target_modules=targets.replace("dense", "output.dense").split(",") if name == "tiny-bert" else targets.split(",")))
                torch.manual_seed(3)
                with torch.no_grad():
                    for _, value in model.named_parameters():
                        if value.requires_grad:
                            value.normal_(0.0, 0.1)
                model.eval().save_pretrained(self.place / name)
                found, ids = self.scored(self.place / name, make_texts(12))
                expected = logits_of(model, ids)
                self.assertLess(np.abs(found - expected).max(), LOGITS_MAX * max(1.0, np.abs(expected).max()))

    def test_a_base_without_a_pooler_trains_one(self):
        base = self.place / "bare"
        shutil.copytree(FIXTURES / "tiny-bert", base)
        stored = load_file(base / "model.safetensors")
        save_file({name: value for name, value in stored.items() if "pooler" not in name and not name.startswith("classifier")},
                  base / "model.safetensors", metadata={"format": "pt"})
        self.follow("bare", "query,value", base=base, rate=2e-2)

    def test_another_base_or_classifier_is_refused(self):
        finch(FIXTURES / "tiny-bert", 2, 2e-2, "query,value", self.place / "out", make_texts(12))
        folder = self.place / "out" / "end"
        other = self.place / "other"
        shutil.copytree(FIXTURES / "tiny-bert", other)
        stored = load_file(other / "model.safetensors")
        torch.manual_seed(5)
        save_file({name: torch.randn_like(value) * value.std() if value.dim() == 2 else value for name, value in stored.items()},
                  other / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / "adapter_model.safetensors")

        def refused(words, config=config, tensors=tensors):
            to = self.place / "changed"
            shutil.rmtree(to, True)
            shutil.copytree(folder, to)
            (to / "adapter_config.json").write_text(json.dumps(config))
            save_file(tensors, to / "adapter_model.safetensors")
            with self.assertRaises(AssertionError) as caught:
                self.scored(to, make_texts(2))
            for word in words:
                self.assertIn(word, str(caught.exception))
        refused(("probe", "base"), {**config, "base_model_name_or_path": str(other)})
        refused(("lora_A", "[8, 32]", "[4, 32]"), {**config, "r": 4})
        refused(("use_dora",), {**config, "use_dora": True})
        head = "base_model.model.classifier.weight"
        refused(("probe", "classifier was changed"), tensors={**tensors, head: torch.randn(tensors[head].shape)})
        refused(("1 of the",), tensors={**tensors, "base_model.model.bert.encoder.layer.99.attention.self.query.lora_A.weight": torch.zeros(8, 32)})
        refused(("classifier.bias",), tensors={name: value for name, value in tensors.items() if name != "base_model.model.classifier.bias"})


if __name__ == "__main__":
    if not DRIVER.is_file():
        sys.exit(f"no {DRIVER}; run: make build")
    unittest.main(verbosity=2)
