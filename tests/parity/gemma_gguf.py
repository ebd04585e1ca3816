"""Small random Gemma 3 models as GGUF files, one for each block type, and the same weights dequantised in transformers.

Types without a quantiser in the gguf package get random bytes as blocks, with scales small enough that logits stay plain.
"""
import gemma_models
import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Kind, GGUFWriter, dequantize, quantize

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
FLOATS = ("F32", "F16", "BF16")
SCALE = {"Q4_K": 0.0006, "Q5_K": 0.0003, "Q6_K": 0.00006}  # of a block: items reach some 0.2
HALVES = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}  # where a block's f16 scales lie
SHAPE = dict(vocab_size=320, hidden_size=256, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
             intermediate_size=256, max_position_embeddings=128, sliding_window=7, query_pre_attn_scalar=64, sliding_window_pattern=6)


def random_blocks(kind, rows, columns, draw):
    n_items, size = GGML_QUANT_SIZES[Kind[kind]]
    blocks = draw.integers(0, 256, (rows, columns // n_items, size), dtype=np.uint8)
    for at in HALVES[kind]:
        scale = (SCALE[kind] * draw.uniform(0.5, 1.0, blocks.shape[:2])).astype(np.float16)
        blocks[:, :, at:at + 2] = scale[..., None].view(np.uint8)
    return blocks.reshape(rows, -1)


def encode(kind, value, draw):
    """(what the file holds, its f32)."""
    if kind in SCALE:
        raw = random_blocks(kind, *value.shape, draw)
    else:
        raw = quantize(value, Kind[kind])
    return raw, dequantize(raw, Kind[kind]).astype(np.float32).reshape(value.shape)


def write(path, kind, seed=3):
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE)).eval()
    writer = GGUFWriter(path, "gemma3")
    writer.add_context_length(SHAPE["max_position_embeddings"])
    writer.add_embedding_length(SHAPE["hidden_size"])
    writer.add_block_count(SHAPE["num_hidden_layers"])
    writer.add_feed_forward_length(SHAPE["intermediate_size"])
    writer.add_head_count(SHAPE["num_attention_heads"])
    writer.add_head_count_kv(SHAPE["num_key_value_heads"])
    writer.add_key_length(SHAPE["head_dim"])
    writer.add_value_length(SHAPE["head_dim"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1000000.0)
    writer.add_sliding_window(SHAPE["sliding_window"])
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for layer in range(SHAPE["num_hidden_layers"]):
        for here, there in gemma_models.LAYER_NAMES.items():
            names[f"model.layers.{layer}.{there}.weight"] = f"blk.{layer}.{here}.weight"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                value = draw.normal(0.0, 0.3, parameter.shape).astype(np.float32)
                writer.add_tensor(names[name], value + np.float32(1.0))
                parameter.copy_(torch.from_numpy((value + np.float32(1.0)) - np.float32(1.0)))
            else:
                raw, value = encode(kind, draw.normal(0.0, 0.08, parameter.shape).astype(np.float32), draw)
                writer.add_tensor(names[name], raw, raw_dtype=Kind[kind])
                parameter.copy_(torch.from_numpy(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model
