"""Adapters beside a frozen Gemma 3, held against PEFT: 30 steps without dropout follow its loss, the gradients of every kind of
layer are its, and what finch saves gives the same logits in PEFT.

    FINCH_SOURCE=. python tests/parity/test_lora.py
"""
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

import gemma_models
import numpy as np
import test_gemma
import torch
from lora_peft import DRIVER, LOGITS_MAX, LOSS_MAX, STEPS, finch, logits_of, peft_train
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Gemma3TextForSequenceClassification

torch.set_num_threads(1)
ALL = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"


def make_texts(n, vocabulary=60, longest=30, seed=2):
    """Five classes that the first words decide, so that there is something to learn."""
    draw = np.random.default_rng(seed)
    texts = []
    for _ in range(n):
        label = int(draw.integers(0, 5))
        ids = draw.integers(10, vocabulary, draw.integers(1, longest)).tolist()
        texts.append((label, [3 + label] + ids))
    return texts


class LoraTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="finch-lora-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)
        self.base = self.place / "base"
        gemma_models.random_model("Gemma3TextForSequenceClassification", self.base, labels=5)
        (self.base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]) + "\n")

    def open_peft(self, name, trainable=False):
        model = Gemma3TextForSequenceClassification.from_pretrained(self.base, num_labels=5, dtype=torch.float32,
                                                                    attn_implementation="eager")
        return PeftModel.from_pretrained(model, self.place / name, is_trainable=trainable)

    def follow(self, targets, steps=STEPS, rate=2e-3):
        texts = make_texts(40)
        losses, logits = finch(self.base, steps, rate, targets, self.place / "out", texts)
        model = self.open_peft("out/start", trainable=True)
        expected = peft_train(model.train(), texts, steps, rate)
        if steps == STEPS:
            self.assertLess(expected[-1], expected[0], "nothing was learnt: this test would see no gradient")
        self.assertLess(np.abs(losses - expected).max(), LOSS_MAX)
        model.eval()
        self.assertLess(np.abs(logits - logits_of(model, texts)).max(), 20 * LOSS_MAX)
        self.assertLess(np.abs(logits - logits_of(self.open_peft("out/end").eval(), texts)).max(), LOGITS_MAX)
        return losses, logits

    def run_finch(self, folder, texts, compute="f32"):
        return test_gemma.driver(self.place / folder, compute, "classes", [ids for _, ids in texts])

    def refused(self, folder, *words):
        """Opening fails, and the message has these words."""
        with self.assertRaises(AssertionError) as caught:
            self.run_finch(folder, make_texts(1))
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_queries_and_values(self):
        self.follow("q_proj,v_proj")

    def test_what_finch_saves_finch_opens(self):
        texts = make_texts(12)
        _, logits = finch(self.base, 4, 2e-2, ALL, self.place / "out", texts)
        self.assertLess(np.abs(self.run_finch("out/end", texts) - logits).max(), LOGITS_MAX)
        scale = np.abs(logits).max()
        self.assertLess(np.abs(self.run_finch("out/end", texts, "int8") - logits).max() / scale, 0.3)

    def test_what_peft_saves_finch_opens(self):
        model = get_peft_model(Gemma3TextForSequenceClassification.from_pretrained(self.base, num_labels=5, dtype=torch.float32),
                               LoraConfig(task_type="SEQ_CLS", r=5, lora_alpha=20, target_modules=ALL.split(",")))
        torch.manual_seed(3)
        with torch.no_grad():
            for name, value in model.named_parameters():
                if value.requires_grad:
                    value.normal_(0.0, 0.1)
        model.eval().save_pretrained(self.place / "peft")
        texts = make_texts(12)
        expected = logits_of(model, texts)
        (self.place / "peft" / "config.json").write_text((self.base / "config.json").read_text())
        self.assertLess(np.abs(self.run_finch("peft", texts) - expected).max() / np.abs(expected).max(), LOGITS_MAX)

    def test_another_base_rank_or_classifier_is_refused(self):
        from safetensors.torch import load_file, save_file
        finch(self.base, 2, 2e-2, "q_proj,v_proj", self.place / "out", make_texts(12))
        folder = self.place / "out" / "end"
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / "adapter_model.safetensors")

        def changed(name, config=config, tensors=tensors):
            to = self.place / name
            shutil.copytree(folder, to)
            (to / "adapter_config.json").write_text(json.dumps(config))
            save_file(tensors, to / "adapter_model.safetensors")
            return name
        self.run_finch(changed("same"), make_texts(1))
        gemma_models.random_model("Gemma3TextForSequenceClassification", self.place / "other", seed=1, labels=5)
        self.refused(changed("other-base", {**config, "base_model_name_or_path": str(self.place / "other")}), "probe", "base")
        self.refused(changed("no-base", {**config, "base_model_name_or_path": "nowhere"}), "nowhere", "base_model_name_or_path")
        self.refused(changed("rank", {**config, "r": 4}), "lora_A", "[8, 48]", "[4, 48]")
        self.refused(changed("dora", {**config, "use_dora": True}), "use_dora")
        self.refused(changed("kind", {**config, "peft_type": "IA3"}), "peft_type")
        head = "base_model.model.score.weight"
        self.refused(changed("head", tensors={**tensors, head: torch.randn(tensors[head].shape)}), "probe", "classifier was changed")
        self.refused(changed("more", tensors={**tensors, "base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight": torch.zeros(8, 48)}), "1 of the")
        half = {name: value for name, value in tensors.items() if not name.endswith("layers.0.self_attn.q_proj.lora_B.weight")}
        self.refused(changed("half", tensors=half), "lora_B.weight is missing")

    def test_every_linear_layer_and_checkpointed_activations(self):
        losses, logits = self.follow(ALL)
        again, same = finch(self.base, STEPS, 2e-3, ALL, self.place / "checkpointed", make_texts(40), True)
        self.assertEqual(losses.tobytes(), again.tobytes())
        self.assertEqual(logits.tobytes(), same.tobytes())

    def test_one_kind_of_layer_at_a_time(self):
        for name in ALL.split(","):
            with self.subTest(name):
                self.follow(name, steps=6)


if __name__ == "__main__":
    if not DRIVER.is_file():
        sys.exit(f"no {DRIVER}; run: make build")
    unittest.main(verbosity=2)
