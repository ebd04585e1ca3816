"""Hugging Face tokenizers on one thread, kept alive so that its rounds can alternate with finch's.

Reads one JSON command a line on stdin and answers each with one JSON line:
    {"do":"pass"}                {"seconds","texts_per_second","tokens"}   encode_batch over every text
    {"do":"pass","fast":true}    the same by encode_batch_fast, which leaves out the offsets
"""
import argparse
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer  # noqa: E402


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tokenizer", required=True, help="tokenizer.json")
    options.add_argument("--texts", required=True, help="JSONL with body")
    options.add_argument("--max-tokens", type=int, default=128)
    args = options.parse_args()
    with open(args.texts, encoding="utf-8") as lines:
        texts = [json.loads(line)["body"] for line in lines]
    tokenizer = Tokenizer.from_file(args.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.max_tokens)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] != "pass":
            raise SystemExit(f"tokenize_peer: no command {command['do']!r}")
        encode = tokenizer.encode_batch_fast if command.get("fast") else tokenizer.encode_batch
        began = time.perf_counter()
        encoded = encode(texts)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "texts_per_second": len(texts) / seconds, "rows": len(texts),
                          "tokens": sum(len(found.ids) for found in encoded)}), flush=True)


if __name__ == "__main__":
    main()
