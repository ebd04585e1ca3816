"""`finch convert` and `finch quantize` beside the gguf package and transformers: the real 270M's numbers to the bit, and a small
random model there and back.

    FINCH=build/finch .venv/bin/python tests/parity/test_convert.py
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import gemma_models
import gguf
import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig, GemmaTokenizer

torch.set_num_threads(1)
SOURCE = gemma_models.SOURCE
FINCH = os.environ.get("FINCH", str(SOURCE / "build" / "finch"))
SPM = SOURCE / "tests" / "fixtures" / "spm"
# The head's width is the one that transformers takes a GGUF file's scores to be scaled by.
SMALL = dict(vocab_size=960, hidden_size=64, num_hidden_layers=7, num_attention_heads=2, num_key_value_heads=1, head_dim=256, intermediate_size=96,
             max_position_embeddings=256, sliding_window=9, query_pre_attn_scalar=256, sliding_window_pattern=6)
TEXTS = ["$AAPL to the moon  🚀", "sell it\n\nnow, says <b>nobody</b>", "a"]
# The same numbers in the same order of operations, but GGUF keeps norms with one added: of the largest logit.
SAME = 1e-5


def finch(*arguments):
    done = subprocess.run([FINCH, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"finch {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def folder_tensors(folder):
    index = folder / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    for name in names:
        with safe_open(folder / name, "pt") as file:
            for key in file.keys():
                yield key, file.get_tensor(key)


class RealTest(unittest.TestCase):
    """The quantised 270M: what is in the folder is what the gguf package reads from the file."""

    def test_every_number_is_the_reference_s(self):
        source = gemma_models.gguf_file()
        with tempfile.TemporaryDirectory(prefix="finch-convert-") as place:
            folder = pathlib.Path(place) / "hub"
            report = finch("convert", "--model", source, "--output", folder, "--type", "f32", "--shard-bytes", 500_000_000)
            self.assertGreater(report["files"], 1)
            self.assertLess(report["working_bytes"], 10 << 20)
            tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(source).tensors}
            names = {gemma_models.hub_name(name): name for name in tensors}
            n = 0
            for name, value in folder_tensors(folder):
                tensor = tensors[names[name]]
                wanted = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(value.shape)
                if value.dim() == 1:
                    wanted = wanted - np.float32(1.0)
                self.assertTrue(np.array_equal(wanted.view(np.uint32), value.numpy().view(np.uint32)), name)
                n += 1
            self.assertEqual(n, len(tensors))


class SmallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = tempfile.TemporaryDirectory(prefix="finch-convert-")
        cls.addClassCleanup(place.cleanup)
        cls.place = pathlib.Path(place.name)
        torch.manual_seed(4)
        cls.model = Gemma3ForCausalLM(Gemma3TextConfig(**SMALL)).eval()
        with torch.no_grad():
            for parameter in cls.model.parameters():
                parameter.normal_(0.0, 0.3 if parameter.dim() == 1 else 0.08)
        cls.folder = cls.place / "hub"
        cls.model.save_pretrained(cls.folder, max_shard_size="60KB")
        (cls.folder / "tokenizer.json").write_bytes((SPM / "tokenizer.json").read_bytes())
        cls.tokenizer = AutoTokenizer.from_pretrained(cls.folder)

    def logits(self, model):
        with torch.inference_mode():
            return [model(**self.tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]

    def hold(self, model, limit=SAME):
        for wanted, found in zip(self.logits(self.model), self.logits(model)):
            self.assertLess(((wanted - found).abs().max() / wanted.abs().max()).item(), limit)

    def gguf(self, kind):
        path = self.place / f"{kind}.gguf"
        if not path.is_file():
            finch("convert", "--model", self.folder, "--output", path, "--type", kind)
        return path

    def test_the_gguf_package_reads_what_finch_writes(self):
        weights = {name: value.numpy() for name, value in self.model.state_dict().items()}
        for kind, wanted_type in (("f32", "F32"), ("f16", "F16"), ("bf16", "BF16"), ("q8_0", "Q8_0")):
            with self.subTest(kind):
                reader = gguf.GGUFReader(self.gguf(kind))
                self.assertEqual(len(reader.tensors), 2 + 13 * SMALL["num_hidden_layers"])
                for tensor in reader.tensors:
                    value = weights[gemma_models.hub_name(tensor.name)]
                    if value.ndim == 1:
                        self.assertEqual(tensor.tensor_type.name, "F32")
                        self.assertTrue(np.array_equal(tensor.data, value + np.float32(1.0)))
                    else:
                        self.assertEqual(tensor.tensor_type.name, wanted_type)
                        wanted = gguf.quantize(value, tensor.tensor_type)
                        self.assertEqual(np.ascontiguousarray(tensor.data).tobytes(), wanted.tobytes(), tensor.name)
                fields = {name: field.contents() for name, field in reader.fields.items()}
                self.assertEqual(fields["general.architecture"], "gemma3")
                self.assertEqual(fields["gemma3.attention.sliding_window"], SMALL["sliding_window"])
                self.assertEqual(len(fields["tokenizer.ggml.tokens"]), SMALL["vocab_size"])
                self.assertEqual(fields["tokenizer.ggml.tokens"][2], "<bos>")

    def test_transformers_gives_the_same_logits_from_all_three(self):
        path = self.gguf("f32")
        self.hold(AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval())
        back = self.place / "back"
        finch("convert", "--model", path, "--output", back, "--type", "f32", "--shard-bytes", 60000)
        self.hold(AutoModelForCausalLM.from_pretrained(back, dtype=torch.float32).eval())

    def test_tokenizers_of_all_three_agree(self):
        path = self.gguf("f32")
        back = self.place / "back-tokens"
        finch("convert", "--model", path, "--output", back, "--type", "bf16")
        other = AutoTokenizer.from_pretrained(back)
        third = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        self.assertIsInstance(other, GemmaTokenizer)
        for text in TEXTS + ["  x   y", "<start_of_turn>user\n", "\n\n\n"]:
            wanted = self.tokenizer(text).input_ids
            self.assertEqual(wanted, other(text).input_ids)
            self.assertEqual(wanted, third(text).input_ids)
        turns = [{"role": "system", "content": "s"}, {"role": "user", "content": " u "}, {"role": "assistant", "content": "m"}, {"role": "user", "content": "v"}]
        self.assertEqual(other.apply_chat_template(turns, tokenize=False, add_generation_prompt=True),
                         "<bos><start_of_turn>user\ns\n\nu<end_of_turn>\n<start_of_turn>model\nm<end_of_turn>\n<start_of_turn>user\nv<end_of_turn>\n<start_of_turn>model\n")

    def test_int8_folders_open_in_transformers(self):
        out = self.place / "int8"
        report = finch("quantize", "--model", self.folder, "--output", out, "--shard-bytes", 60000)
        self.assertGreater(report["files"], 1)
        self.hold(AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval(), limit=0.08)


if __name__ == "__main__":
    sys.exit(unittest.main())
