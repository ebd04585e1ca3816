"""llama.cpp's side of bench/generate.py, through its C API (llama-cpp-python): greedy answers of a fixed length, one prompt after the other. Prints
one JSON object; the clock runs from the prompt's first token to the answer's last, loading is not counted.

    python llama_generate.py MODEL --ids prompts.json --tokens 64 --threads 2
"""
import argparse
import ctypes
import json
import time

import llama_cpp as llama


@llama.llama_log_callback
def quiet(level, text, data):
    pass


def answer(context, sampler, ids, n):
    """The ids that follow, ends of text among them: both sides write the same number of tokens."""
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    out, batch = [], ids
    for _ in range(n):
        tokens = (llama.llama_token * len(batch))(*batch)
        if llama.llama_decode(context, llama.llama_batch_get_one(tokens, len(batch))) != 0:
            raise SystemExit("llama_decode failed")
        out.append(llama.llama_sampler_sample(sampler, context, -1))
        batch = out[-1:]
    return out


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model")
    options.add_argument("--ids", required=True)
    options.add_argument("--tokens", type=int, required=True)
    options.add_argument("--threads", type=int, required=True)
    args = options.parse_args()
    with open(args.ids, encoding="utf-8") as file:
        prompts = json.load(file)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(args.model.encode(), llama.llama_model_default_params())
    if not model:
        raise SystemExit(f"llama.cpp does not open {args.model}")
    how = llama.llama_context_default_params()
    how.n_ctx = how.n_batch = how.n_ubatch = max(map(len, prompts)) + args.tokens + 8
    how.n_threads = how.n_threads_batch = args.threads
    context = llama.llama_init_from_model(model, how)
    sampler = llama.llama_sampler_init_greedy()
    answer(context, sampler, prompts[0], 4)
    begin = time.perf_counter()
    answers = [answer(context, sampler, ids, args.tokens) for ids in prompts]
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "tokens": len(prompts) * args.tokens, "tokens_per_second": len(prompts) * args.tokens / seconds, "answers": answers}))


if __name__ == "__main__":
    main()
