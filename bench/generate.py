"""Greedy answers of the real Gemma 3 270M beside llama.cpp, in tokens a second: one JSON document, a minute or two on two cores.

    python bench/generate.py [--rounds 5] [--tokens 48] [--prompts 8] [--threads 2] [--llama-python P] [--save FILE]

The same GGUF file (Q4_K_M), finch with --compute int8, in rounds by turns; ratios are taken inside a round. `one`: a prompt alone. `many`: eight
prompts, which finch decodes together and llama.cpp one after the other, as its Python users do. Prompts are read inside the clock, loading
is not. llama.cpp: bench/peers/make_llama.sh builds it for this machine (build/llama-native).
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import benchlib
import drive

ROOT = benchlib.ROOT
sys.path.insert(0, str(ROOT / "tests" / "parity"))
PROMPTS = ["The stock market today", "Shares of the company rose after", "The central bank said on Monday that", "Oil prices fell because",
           "Investors in technology stocks", "The quarterly report shows", "Analysts expect the merger to", "In early trading the index"]


def finch_answers(path, folder, prompts, tokens, threads):
    given = folder / "prompts.jsonl"
    given.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    document = drive.finch(threads, "generate", "--model", path, "--compute", "int8", "--raw", "--input", given, "--output", folder / "answers.jsonl",
                           "--max-tokens", tokens, "--batch", len(prompts))
    if document["completion_tokens"] != tokens * len(prompts):
        raise drive.Failed(f"an answer ended early: {document['completion_tokens']} tokens; choose other prompts")
    return document


def llama_answers(python, path, folder, tokens, threads):
    command = [python, str(ROOT / "bench" / "peers" / "llama_generate.py"), str(path), "--ids", str(folder / "ids.json"), "--tokens", str(tokens), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise drive.Failed(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def token_ids(path, folder, prompts):
    given = folder / "texts.jsonl"
    given.write_text("".join(json.dumps({"body": prompt}) + "\n" for prompt in prompts))
    drive.finch(None, "tokenize", "--model", path, "--input", given, "--output", folder / "ids.jsonl")
    (folder / "ids.json").write_text(json.dumps([json.loads(line)["ids"] for line in (folder / "ids.jsonl").read_text().splitlines()]))


def measure(args, path, prompts, goal):
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        token_ids(path, folder, prompts)
        for turn in range(args.rounds):
            ours.append(finch_answers(path, folder, prompts, args.tokens, args.threads))
            theirs.append(llama_answers(args.llama_python, path, folder, args.tokens, args.threads))
            benchlib.note(f"round {turn + 1}: finch {ours[-1]['tokens_per_second']:.1f}, llama.cpp {theirs[-1]['tokens_per_second']:.1f} tokens/s")
    return drive.compare(args.rounds, ours, theirs, "tokens_per_second", goal)


def main():
    import gemma_models
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--tokens", type=int, default=48)
    options.add_argument("--prompts", type=int, default=len(PROMPTS))
    options.add_argument("--llama-python", default=str(ROOT / "build" / "llama-native" / "bin" / "python"))
    args = options.parse_args()
    path = gemma_models.gguf_file()
    benchlib.emit({"bench": "generate", "environment": benchlib.environment(args.threads), "model": path.name,
                   "one": measure(args, path, PROMPTS[:1], 1.0), "many": measure(args, path, PROMPTS[:args.prompts], 2.0)}, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
