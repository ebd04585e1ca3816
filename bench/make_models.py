"""Makes what the benches measure with: models in Hugging Face layout, the same ones as ONNX for the peer, and the texts.

    python bench/make_models.py [minilm] [bert-base]      into build/bench-models/ (not kept by git)

MiniLM is the real one with a seeded five-class head; bert-base has random weights (none are on a package index), which
changes no time. ONNX as ONNX Runtime's own guides make it: torch.onnx.export, opset 17; the fused graph by its
transformer optimiser; int8 by quantize_dynamic per channel. What was made is kept until weights or versions change.
"""
import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import sys
import tempfile

import benchlib

benchlib.offline()

EXPORT_RECIPE = 2
OPSET = 17


def file_sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def export_key(folder):
    found = benchlib.versions()
    return {"recipe": EXPORT_RECIPE, "weights": file_sha256(folder / "model.safetensors"),
            **{name: found.get(name) for name in ("torch", "transformers", "onnx", "onnxruntime")}}


def export_plain(folder, out):
    import torch
    from transformers import AutoModelForSequenceClassification

    class Logits(torch.nn.Module):
        """The exporter wants tensors in and out, in this order."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.ones((2, 9), dtype=torch.long)
    axes = {0: "batch", 1: "tokens"}
    names = ["input_ids", "attention_mask", "token_type_ids"]
    with torch.no_grad():
        torch.onnx.export(Logits(model), (ids, torch.ones_like(ids), torch.zeros_like(ids)), str(out), input_names=names, output_names=["logits"],
                          dynamic_axes={**{name: axes for name in names}, "logits": {0: "batch"}}, opset_version=OPSET, dynamo=False)


def export_fused(folder, plain, out):
    from onnxruntime.transformers import optimizer
    config = json.loads((folder / "config.json").read_text())
    optimised = optimizer.optimize_model(str(plain), model_type="bert", num_heads=config["num_attention_heads"],
                                         hidden_size=config["hidden_size"], opt_level=0)
    optimised.save_model_to_file(str(out))


def export_int8(plain, out):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(str(plain), str(out), per_channel=True, weight_type=QuantType.QInt8)


def ensure_onnx(folder):
    """Folder beside `folder` with model.onnx, model-fused.onnx and model-int8.onnx."""
    target = folder.with_name(folder.name + "-onnx")
    key = export_key(folder)
    made = target / "made.json"
    if made.is_file() and json.loads(made.read_text()) == key:
        return target
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{target.name}-") as place:
        fresh = pathlib.Path(place) / target.name
        fresh.mkdir()
        plain = fresh / "model.onnx"
        export_plain(folder, plain)
        export_fused(folder, plain, fresh / "model-fused.onnx")
        export_int8(plain, fresh / "model-int8.onnx")
        (fresh / "made.json").write_text(json.dumps(key) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(fresh, target)
    return target


def reference_models():
    """tests/parity/make_models.py: one definition of the models for tests and benches."""
    here = benchlib.ROOT / "tests" / "parity"
    if str(here) not in sys.path:
        sys.path.append(str(here))
    spec = importlib.util.spec_from_file_location("reference_models", here / "make_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ensure(name):
    """(folder in Hugging Face layout, folder with ONNX files)"""
    folder = reference_models().ensure(name, benchlib.MODELS)
    return folder, ensure_onnx(folder)


def tweets(rows=None):
    """The table's first rows, as JSONL: what the peers read (and nothing of pyarrow in their memory)."""
    import pyarrow.parquet as parquet
    name = "tweets-all.jsonl" if rows is None else f"tweets-{rows}.jsonl"
    target = benchlib.MODELS / name
    bodies = parquet.read_table(benchlib.STOCKNET, columns=["body"])["body"].to_pylist()[:rows]
    content = "".join(json.dumps({"body": body}, ensure_ascii=False) + "\n" for body in bodies)
    if not target.is_file() or target.read_text(encoding="utf-8") != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{name}.{os.getpid()}.tmp")
        beside.write_text(content, encoding="utf-8")
        os.replace(beside, target)
    return target


def main():
    names = sys.argv[1:] or ["minilm", "bert-base"]
    if any(name not in ("minilm", "bert-base") for name in names):
        print(__doc__, file=sys.stderr)
        return 2
    for name in names:
        for folder in ensure(name):
            print(folder)
    print(tweets(4000))
    print(tweets())
    return 0


if __name__ == "__main__":
    sys.exit(main())
