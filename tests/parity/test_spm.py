"""`finch tokenize` beside Hugging Face tokenizers with Gemma 3's real vocabulary: ids on every StockNet tweet, on code points
and on adversarial texts, from GGUF, tokenizer.model and tokenizer.json (FINCH_PARITY_ALL=1: everything for every file).

    FINCH=build/finch .venv/bin/python tests/parity/test_spm.py

The reference is transformers' reading of the GGUF file; tokenizer.model is made here from its pieces with the sentencepiece
package's protobuf, and read by transformers' own conversion too. Answers on the tweets are kept in build/models/: the reference
needs most of a minute for them.
"""
import os
import pathlib
import pickle
import random
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import pyarrow.parquet  # noqa: E402
import tokenizers  # noqa: E402
import transformers  # noqa: E402
from sentencepiece import sentencepiece_model_pb2 as protobuf  # noqa: E402
from tokenizers import Tokenizer, processors  # noqa: E402
from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer  # noqa: E402

import gemma_models  # noqa: E402
from test_tokenize import N_TWEETS, SHOWN, SOURCE, TWEETS, finch_ids, json_line  # noqa: E402

KEPT = gemma_models.MODELS
VERSION = f"{transformers.__version__}-{tokenizers.__version__}"
EVERYTHING = os.environ.get("FINCH_PARITY_ALL") == "1"
MAX_TOKENS = 1 << 20


def reference(path):
    """transformers' tokenizer of the GGUF file, with <bos>; its tokenizer.json is kept (to make it takes half a minute)."""
    kept = KEPT / f"reference-{VERSION}.json"
    if not kept.is_file():
        architecture, vocabulary, _ = get_gguf_tokenizer(str(path))
        made = convert_gguf_tokenizer(architecture, vocabulary)[0]
        made.post_processor = processors.TemplateProcessing(single="<bos>:0 $A:0", pair="<bos>:0 $A:0 <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
        made.save(str(kept) + ".part")
        os.replace(str(kept) + ".part", kept)
    return kept, Tokenizer.from_file(str(kept))


def write_model(path, folder):
    """The GGUF file's vocabulary as SentencePiece writes it: user pieces of blanks with U+2581."""
    import gguf

    fields = gguf.GGUFReader(path).fields
    tokens, scores, kinds = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "scores", "token_type"))
    proto = protobuf.ModelProto()
    for piece, score, kind in zip(tokens, scores, kinds):
        proto.pieces.add(piece=piece.replace(" ", "▁") if kind == 4 else piece, score=score, type=2 if piece == "<unk>" else kind)
    spec = proto.trainer_spec
    spec.model_type, spec.byte_fallback, spec.vocab_size = protobuf.TrainerSpec.BPE, True, len(tokens)
    spec.pad_id, spec.eos_id, spec.bos_id, spec.unk_id = 0, 1, 2, 3
    rules = proto.normalizer_spec
    rules.name, rules.add_dummy_prefix, rules.remove_extra_whitespaces, rules.escape_whitespaces = "identity", False, False, True
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())
    return folder


def code_points():
    """Every tenth block of 32 scalar values (all with FINCH_PARITY_ALL=1), each between letters and alone."""
    for first in range(0, 0x110000, 32 if EVERYTHING else 320):
        if not 0xD800 <= first < 0xE000:
            yield "".join(f"a{chr(code)}b {chr(code)} " for code in range(first, first + 32)).encode()


def adversarial(vocabulary):
    chosen = random.Random(12)
    pieces = sorted(vocabulary, key=vocabulary.get)
    special = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<unused7>", "[multimodal]", "<table>", "\n\n\n", "\t\t", "  ", "     ", "<0x0A>", ">▁</", "> </", "▁▁"]
    pool = list("abcXYZ éÉñİß\u0301\u0323한국日本語カש\u200f\u200d\u200b\ufeff😀👨\u200d👩🏽🇺🇸❤\ufe0f \t\n\r\x0b\x85\u00a0\u2028\u3000\x00\x01\x7f\ufffd$#@!?.,-_’“”…€0189<>/=\ue000\U000e0041\u0378")
    yield from (b"", b" ", b"\0", b"\xe2\x96\x81", b"<bos>" * 50, b" <eos> a<eos>b ", b"=" * 1000, b"-" * 777, b" " * 100, b"\n" * 100, b"ha" * 300)
    yield from (unit.encode() * (2**20 // len(unit.encode()) - 1) for unit in ("a", "é", "\u0378", "ab"))
    for ill in (b"\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"\xe2\x82", b"\xc3", b"\xfe", b"\xc3\x28", b"\xf0\x28\x8c\xbc"):
        yield from (ill, b"a" + ill + b"b", b" " + ill + b" ", b"price" + ill)
    for _ in range(3000):
        parts = (chosen.choice(special) if chosen.random() < 0.2 else "".join(chosen.choice(pool) for _ in range(chosen.randrange(9))) for _ in range(chosen.randrange(1, 8)))
        yield chosen.choice(["", " "]).join(parts).encode()
    for _ in range(3000):  # what pieces make when they stand side by side
        yield "".join(chosen.choice(pieces).replace("▁", " ") for _ in range(chosen.randrange(1, 12))).encode()
    for _ in range(1000):  # runs, whose merges are ties but for their place
        yield "".join(chosen.choice("ab=- .") * chosen.randrange(1, 60) for _ in range(chosen.randrange(1, 4))).encode()


def answers(tokenizer, texts):
    """The ids of the reference; a text of a megabyte goes alone, for its memory."""
    for begin in range(0, len(texts), 4000):
        for answer in tokenizer.encode_batch_fast([text.decode("utf-8", "replace") for text in texts[begin : begin + 4000]]):
            yield answer.ids


def tweets_answers(tokenizer, tweets):
    kept = KEPT / f"tweets-{VERSION}.pickle"
    if not kept.is_file():
        part = kept.with_suffix(".part")
        part.write_bytes(pickle.dumps(list(answers(tokenizer, tweets))))
        part.rename(kept)
    return pickle.loads(kept.read_bytes())


def compare(name, texts, wanted, found):
    if len(found) != len(texts):
        print(f"{name}: {len(texts)} texts gave {len(found)} rows")
        return 1
    wrong = [at for at, ids in enumerate(wanted) if ids != found[at]]
    for at in wrong[:SHOWN]:
        print(f"{name}: row {at + 1}, {texts[at][:80]!r}:\n  finch {found[at][:40]}\n  reference {wanted[at][:40]}")
    print(f"{name}: {len(texts)} texts, {len(wrong)} differ")
    return len(wrong)


def has_block(text):
    return "▁".encode() in text


def check_rows_of(model, name, folder, tweets, hard, wanted):
    """The texts that this file is asked for: a tenth of the tweets, unless it goes first or everything is wanted."""
    bad = 0
    first = name == "GGUF" or EVERYTHING
    if first:
        bad += compare(f"{name}, tweets", tweets, wanted["tweets"], finch_ids(model, TWEETS, folder / "ids.jsonl", MAX_TOKENS))
    texts = hard if first else hard + tweets[::10]
    expected = wanted["hard"] if first else wanted["hard"] + wanted["tweets"][::10]
    if name == "tokenizer.model":  # there user pieces of blanks are added tokens, found where U+2581 stands in the text itself
        kept = [at for at, text in enumerate(texts) if not has_block(text)]
        texts, expected = [texts[at] for at in kept], [expected[at] for at in kept]
    source = folder / "texts.jsonl"
    source.write_bytes(b"".join(map(json_line, texts)))
    return bad + compare(f"{name}, hard texts", texts, expected, finch_ids(model, source, folder / "ids.jsonl", MAX_TOKENS))


def main():
    path = gemma_models.gguf_file()
    kept, tokenizer = reference(path)
    tweets = [text.encode() if text is not None else b"" for text in pyarrow.parquet.read_table(TWEETS, columns=["body"])["body"].to_pylist()]
    if len(tweets) != N_TWEETS:
        sys.exit(f"{TWEETS} has {len(tweets)} rows, not {N_TWEETS}")
    hard = [*code_points(), *adversarial(tokenizer.get_vocab())]
    wanted = {"tweets": tweets_answers(tokenizer, tweets), "hard": list(answers(tokenizer, hard))}
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "json").mkdir()
        (folder / "json" / "tokenizer.json").symlink_to(kept.resolve())
        for name, model in (("GGUF", path), ("tokenizer.json", folder / "json"), ("tokenizer.model", write_model(path, folder / "model"))):
            bad += check_rows_of(model, name, folder, tweets, hard, wanted)
    if bad > 0:
        sys.exit(f"{bad} rows differ")


if __name__ == "__main__":
    main()
