"""A synthetic Gemma 3 of 12B: true shapes, random int8 weights, in the layout that finch quantize writes. About 13 GB; never committed.

    python bench/make_12b.py [FOLDER]       default: build/bench-models/gemma-3-12b-int8

Weights are written piece by piece, so memory stays small. What the model says is noise; what it costs to
load, to score with and to train beside is that of the real one. The tokenizer is the real 270M's (tests/parity/gemma_models.py), whose pieces
are the 12B's; the quantisation's part of config.json is what finch quantize writes for a small model.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import benchlib
import drive
import numpy as np

sys.path.insert(0, str(benchlib.ROOT / "tests" / "parity"))
FOLDER = benchlib.MODELS / "gemma-3-12b-int8"
SHARD_BYTES, PIECE = 4 << 30, 1 << 23
HIDDEN, LAYERS, HEADS, KEY_HEADS, WIDTH, WIDE, WORDS = 3840, 48, 16, 8, 256, 15360, 262208
CONFIG = {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "dtype": "bfloat16", "vocab_size": WORDS, "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "head_dim": WIDTH, "intermediate_size": WIDE,
    "max_position_embeddings": 131072, "sliding_window": 1024, "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
}
# name in a layer, outputs, inputs
MATRICES = (("self_attn.q_proj", HEADS * WIDTH, HIDDEN), ("self_attn.k_proj", KEY_HEADS * WIDTH, HIDDEN), ("self_attn.v_proj", KEY_HEADS * WIDTH, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HEADS * WIDTH), ("mlp.gate_proj", WIDE, HIDDEN), ("mlp.up_proj", WIDE, HIDDEN), ("mlp.down_proj", HIDDEN, WIDE))
NORMS = (("input_layernorm", HIDDEN), ("self_attn.q_norm", WIDTH), ("self_attn.k_norm", WIDTH), ("post_attention_layernorm", HIDDEN),
         ("pre_feedforward_layernorm", HIDDEN), ("post_feedforward_layernorm", HIDDEN))
SIZES = {"I8": 1, "F32": 4, "BF16": 2}


def tensors():
    """(name, type, shape) of all, in the order of the file."""
    yield "model.embed_tokens.weight", "BF16", (WORDS, HIDDEN)
    for layer in range(LAYERS):
        for name, rows, columns in MATRICES:
            yield f"model.layers.{layer}.{name}.weight", "I8", (rows, columns)
            yield f"model.layers.{layer}.{name}.weight_scale", "F32", (rows, 1)
        for name, width in NORMS:
            yield f"model.layers.{layer}.{name}.weight", "BF16", (width,)
    yield "model.norm.weight", "BF16", (HIDDEN,)


def bf16(values):
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


class Pool:
    """Random items drawn once; a piece is some of them from a random place on, so that writing takes the disk's time and not a generator's."""

    def __init__(self, seed):
        self.draw = np.random.default_rng(seed)
        self.int8 = np.maximum(np.frombuffer(self.draw.bytes(3 * PIECE), dtype=np.int8), -127)
        self.normal = self.draw.standard_normal(3 * PIECE // 2, dtype=np.float32)
        self.words, self.gains = bf16(self.normal * 0.02), bf16(self.normal * 0.1)

    def some(self, items, n):
        at = self.draw.integers(0, len(items) - n + 1)
        return items[at:at + n].tobytes()


def pieces(kind, shape, columns, pool):
    """A tensor's bytes, some megabytes at a time. Items of a matrix have a deviation of 1 / sqrt(inputs), so nothing grows on the way."""
    n = int(np.prod(shape))
    while n > 0:
        some = min(n, PIECE)
        if kind == "F32":
            yield np.full(some, 1.0 / (73.3 * np.sqrt(columns)), dtype=np.float32).tobytes()
        else:
            yield pool.some(pool.int8 if kind == "I8" else pool.words if len(shape) == 2 else pool.gains, some)
        n -= some


def shards():
    found, size = [[]], 0
    for one in tensors():
        n = int(np.prod(one[2])) * SIZES[one[1]]
        if size + n > SHARD_BYTES and size > 0:
            found.append([])
            size = 0
        found[-1].append(one)
        size += n
    return found


def write_shard(path, some, pool):
    header, at, columns = {}, 0, 1
    for name, kind, shape in some:
        end = at + int(np.prod(shape)) * SIZES[kind]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, kind, shape in some:
            columns = shape[1] if kind == "I8" else columns
            for piece in pieces(kind, shape, columns, pool):
                out.write(piece)


def quantization_config():
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        to = pathlib.Path(place) / "int8"
        subprocess.run([str(drive.finch_binary()), "quantize", "--model", str(benchlib.ROOT / "tests" / "fixtures" / "models" / "tiny-gemma"), "--output", str(to),
                        "--quiet"], check=True)
        return json.loads((to / "config.json").read_text())["quantization_config"]


def copy_tokenizer(to):
    import gemma_models
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        small = pathlib.Path(place) / "small"
        subprocess.run([str(drive.finch_binary()), "convert", "--model", str(gemma_models.gguf_file()), "--output", str(small), "--quiet"], check=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if (small / name).is_file():
                shutil.copy(small / name, to / name)


def make(folder=FOLDER):
    if (folder / "config.json").is_file():
        return folder
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    pool, all_shards, names = Pool(12), shards(), {}
    for index, some in enumerate(all_shards):
        name = f"model-{index + 1:05d}-of-{len(all_shards):05d}.safetensors"
        write_shard(beside / name, some, pool)
        names.update({one[0]: name for one in some})
    size = sum(int(np.prod(shape)) * SIZES[kind] for _, kind, shape in tensors())
    (beside / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": names}))
    copy_tokenizer(beside)
    (beside / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": quantization_config()}, indent=2))
    beside.rename(folder)
    return folder


if __name__ == "__main__":
    print(make(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
