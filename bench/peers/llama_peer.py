"""llama.cpp's side of bench/gemma.py and of the parity on quantised files, through its C API (llama-cpp-python). Each prints one JSON object.

    python llama_peer.py prompt MODEL --tokens 512 --runs 5 --threads 2
    python llama_peer.py tweets MODEL --texts texts.json --threads 2 [--keep-prefix]
    python llama_peer.py top MODEL --texts ids.json --threads 2 [--exact]

prompt: seconds of reading so many random tokens at once into an empty cache, with the logits behind the last. tweets: one prompt at a time,
{"before", "texts", "after"} tokenised inside the clock; with --keep-prefix what is before is read once and stays in the cache. top: the likeliest
next id behind each text of [[id, ...], ...]; with --exact keys and values are kept in f32 and flash attention is off.
"""
import argparse
import ctypes
import json
import random
import statistics
import time

import llama_cpp as llama


class Model:
    def __init__(self, path, threads, n_tokens, exact=False):
        llama.llama_log_set(QUIET, ctypes.c_void_p(0))
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp does not open {path}")
        how = llama.llama_context_default_params()
        how.n_ctx, how.n_batch, how.n_ubatch = max(512, 2 * n_tokens), n_tokens, n_tokens  # its cache has places to spare
        how.n_threads = how.n_threads_batch = threads
        if exact:
            how.type_k = how.type_v = llama.GGML_TYPE_F32
            how.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama.llama_init_from_model(self.model, how)
        self.memory = llama.llama_get_memory(self.context)
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.n_words = llama.llama_vocab_n_tokens(self.vocabulary)

    def forget(self, after=0):
        if after == 0:
            llama.llama_memory_clear(self.memory, True)
        else:
            llama.llama_memory_seq_rm(self.memory, 0, after, -1)

    def read(self, ids):
        """The logits behind the last, as a pointer."""
        given = (llama.llama_token * len(ids))(*ids)  # a batch only points to it
        if llama.llama_decode(self.context, llama.llama_batch_get_one(given, len(ids))) != 0:
            raise SystemExit("llama_decode failed")
        return llama.llama_get_logits_ith(self.context, -1)

    def ids(self, text, first):
        given = text.encode()
        room = (llama.llama_token * (len(given) + 8))()
        n = llama.llama_tokenize(self.vocabulary, given, len(given), room, len(room), first, False)
        return list(room[:n])


@llama.llama_log_callback
def QUIET(level, text, data):
    pass


def prompt(args):
    draw = random.Random(1)
    model = Model(args.model, args.threads, args.tokens)
    ids = [draw.randrange(model.n_words) for _ in range(args.tokens)]
    seconds = []
    for _ in range(args.runs + 1):
        begin = time.perf_counter()
        model.forget()
        model.read(ids)
        seconds.append(time.perf_counter() - begin)
    middle = statistics.median(seconds[1:])  # the first warms up
    return {"prompt_tokens_per_second": args.tokens / middle, "prompt_seconds": middle}


def tweets(args):
    with open(args.texts, encoding="utf-8") as lines:
        work = json.load(lines)
    model = Model(args.model, args.threads, 1024)
    before, after = model.ids(work["before"], True), model.ids(work["after"], False)
    words = [model.ids(word, False)[0] for word in work["words"]]

    def run(text, kept):
        logits = model.read(before[kept:] + model.ids(text, False) + after)
        return [logits[word] for word in words]

    model.read(before + after)
    kept = len(before) if args.keep_prefix else 0
    begin = time.perf_counter()
    found = []
    for text in work["texts"]:
        model.forget(kept)
        found.append(run(text, kept))
    seconds = time.perf_counter() - begin
    return {"texts_per_second": len(found) / seconds, "seconds": seconds, "logits": found[:8]}


def top(args):
    with open(args.texts, encoding="utf-8") as lines:
        texts = json.load(lines)
    model = Model(args.model, args.threads, max(map(len, texts)), args.exact)
    found = []
    for ids in texts:
        model.forget()
        logits = model.read(ids)[:model.n_words]
        found.append(max(range(model.n_words), key=logits.__getitem__))
    return {"top": found}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("prompt", "tweets", "top"))
    options.add_argument("model")
    options.add_argument("--tokens", type=int, default=512)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--texts")
    options.add_argument("--keep-prefix", action="store_true")
    options.add_argument("--exact", action="store_true")
    args = options.parse_args()
    found = {"prompt": prompt, "tweets": tweets, "top": top}[args.what](args)
    print(json.dumps({**found, "system": llama.llama_print_system_info().decode().strip()}))


if __name__ == "__main__":
    main()
