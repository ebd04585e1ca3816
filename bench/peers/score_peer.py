"""One peer that scores tweets, kept alive so that its rounds can alternate with finch's.

Reads one JSON command a line on stdin and answers each with one JSON line:
    {"do":"pass","batch":8}   every text once: {"seconds","texts_per_second","rows"}
    {"do":"one","count":400}  texts one by one: {"p50_ms","p95_ms"}
    {"do":"memory"}           {"peak_rss_bytes","rss_before_model_bytes"}
    {"do":"logits","path":F}  the logits of every text as a .npy file: what the two sides answer can be compared

A pass is what a user's script does: tokenise all texts, sort by length, pad each batch to its longest, run, put the
logits back in the order of the texts. Only what the runtime needs is imported, so that peak memory is its own.
"""
import argparse
import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"


def arguments():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runtime", choices=("ort", "torch"), required=True)
    options.add_argument("--model", required=True, help="an ONNX file, or a model folder for torch")
    options.add_argument("--tokenizer", required=True, help="tokenizer.json")
    options.add_argument("--texts", required=True, help="JSONL with body")
    options.add_argument("--rows", type=int, required=True)
    options.add_argument("--threads", type=int, required=True)
    options.add_argument("--max-tokens", type=int, default=128)
    options.add_argument("--compile", action="store_true", help="torch.compile")
    options.add_argument("--bf16", action="store_true", help="torch with bf16 weights")
    return options.parse_args()


ARGS = arguments()
# Before the libraries read them: the same number of threads for the tokenizer and the products.
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)
os.environ["RAYON_NUM_THREADS"] = str(ARGS.threads)
os.environ["TOKENIZERS_PARALLELISM"] = "true" if ARGS.threads > 1 else "false"

import numpy as np  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def rss_peak():
    """VmHWM and not getrusage: that one remembers the process which started this one, from before the exec."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


class OnnxModel:
    def __init__(self, args):
        import onnxruntime as ort
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = args.threads
        settings.inter_op_num_threads = 1
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.rss_before = rss_peak()
        self.session = ort.InferenceSession(args.model, settings, providers=["CPUExecutionProvider"])
        self.names = {given.name for given in self.session.get_inputs()}

    def logits(self, ids, mask):
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return self.session.run(None, {name: value for name, value in feed.items() if name in self.names})[0]


class TorchModel:
    def __init__(self, args):
        import torch
        from transformers import AutoModelForSequenceClassification
        self.torch = torch
        torch.set_num_threads(args.threads)
        self.rss_before = rss_peak()
        kind = torch.bfloat16 if args.bf16 else torch.float32
        self.model = AutoModelForSequenceClassification.from_pretrained(args.model, dtype=kind).eval()
        if args.compile:
            self.model = torch.compile(self.model, dynamic=True)

    def logits(self, ids, mask):
        with self.torch.inference_mode():
            return self.model(input_ids=self.torch.from_numpy(ids), attention_mask=self.torch.from_numpy(mask)).logits.float().numpy()


def read_texts(path, rows):
    texts = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            texts.append(json.loads(line)["body"])
            if len(texts) == rows:
                return texts
    raise SystemExit(f"{path}: holds {len(texts)} texts, {rows} were asked for")


def pad(chunk):
    longest = max(len(ids) for ids in chunk)
    ids = np.zeros((len(chunk), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(chunk):
        ids[row, :len(tokens)] = tokens
        mask[row, :len(tokens)] = 1
    return ids, mask


def score(model, tokenizer, texts, batch):
    encoded = [found.ids for found in tokenizer.encode_batch(texts)]
    order = sorted(range(len(encoded)), key=lambda at: len(encoded[at]))
    out = None
    for begin in range(0, len(order), batch):
        chunk = order[begin:begin + batch]
        logits = model.logits(*pad([encoded[at] for at in chunk]))
        if out is None:
            out = np.empty((len(texts), logits.shape[1]), dtype=np.float32)
        out[chunk] = logits
    return out


def one_by_one(model, tokenizer, texts):
    times = []
    for text in texts:
        began = time.perf_counter()
        model.logits(*pad([tokenizer.encode(text).ids]))
        times.append(time.perf_counter() - began)
    return {"p50_ms": float(np.percentile(times, 50) * 1e3), "p95_ms": float(np.percentile(times, 95) * 1e3)}


def answer(command, model, tokenizer, texts):
    if command["do"] == "pass":
        began = time.perf_counter()
        score(model, tokenizer, texts, command["batch"])
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "texts_per_second": len(texts) / seconds, "rows": len(texts)}
    if command["do"] == "one":
        return one_by_one(model, tokenizer, texts[:command["count"]])
    if command["do"] == "memory":
        return {"peak_rss_bytes": rss_peak(), "rss_before_model_bytes": model.rss_before}
    if command["do"] == "logits":
        np.save(command["path"], score(model, tokenizer, texts, command.get("batch", 16)))
        return {"path": command["path"]}
    raise SystemExit(f"score_peer: no command {command['do']!r}")


def main():
    texts = read_texts(ARGS.texts, ARGS.rows)
    tokenizer = Tokenizer.from_file(ARGS.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(ARGS.max_tokens)
    model = OnnxModel(ARGS) if ARGS.runtime == "ort" else TorchModel(ARGS)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), model, tokenizer, texts)), flush=True)


if __name__ == "__main__":
    main()
