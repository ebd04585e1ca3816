"""A text-classification pipeline, of transformers or of finch's Python package, kept alive so that its rounds can alternate.

Reads one JSON command a line on stdin and answers each with one JSON line:
    {"do":"pass","batch":8,"rows":500}  pipe(texts) over the first rows: {"seconds","texts_per_second","cpu_seconds","rows"},
                                        and of finch "python_seconds": the processor time of the calling thread outside the library
    {"do":"labels"}                     the label of every text, in order
The call is the same on both sides: pipe(list of str), results as a list of dicts.
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
    options.add_argument("--side", choices=("transformers", "finch"), required=True)
    options.add_argument("--model", required=True)
    options.add_argument("--compute", default="auto")
    options.add_argument("--texts", required=True, help="JSONL with body")
    options.add_argument("--rows", type=int, required=True)
    options.add_argument("--threads", type=int, required=True)
    return options.parse_args()


class Library:
    """The processor time that the calling thread spends in libfinch, where finch is the side."""

    seconds = 0.0

    @classmethod
    def watch(cls, native):
        call = native.call

        def watched(*arguments):
            began = time.thread_time()
            try:
                call(*arguments)
            finally:
                cls.seconds += time.thread_time() - began
        native.call = watched


def make_pipe(args):
    if args.side == "finch":
        import finch
        Library.watch(finch._native)
        return finch.pipeline("text-classification", model=args.model, compute=args.compute, threads=args.threads)
    import torch
    import transformers
    torch.set_num_threads(args.threads)
    return transformers.pipeline("text-classification", model=args.model, device="cpu")


def answer(command, pipe, texts):
    if command["do"] == "labels":
        return [found["label"] for found in pipe(texts, batch_size=16)]
    if command["do"] == "pass":
        texts = texts[:command.get("rows", len(texts))]
        began, cpu, thread, Library.seconds = time.perf_counter(), time.process_time(), time.thread_time(), 0.0
        results = pipe(texts, batch_size=command["batch"])
        seconds, cpu, outside = time.perf_counter() - began, time.process_time() - cpu, time.thread_time() - thread - Library.seconds
        if len(results) != len(texts) or set(results[0]) != {"label", "score"}:
            raise SystemExit("pipeline_peer: the pipeline gave something else than a dict a text")
        found = {"seconds": seconds, "texts_per_second": len(texts) / seconds, "cpu_seconds": cpu, "rows": len(texts)}
        return {**found, "python_seconds": outside} if Library.seconds else found
    raise SystemExit(f"pipeline_peer: no command {command['do']!r}")


def main():
    args = arguments()
    with open(args.texts, encoding="utf-8") as lines:
        texts = [json.loads(line)["body"] for line, _ in zip(lines, range(args.rows))]
    if len(texts) != args.rows:
        raise SystemExit(f"{args.texts}: holds {len(texts)} texts, {args.rows} were asked for")
    pipe = make_pipe(args)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), pipe, texts)), flush=True)


if __name__ == "__main__":
    main()
