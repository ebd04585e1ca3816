"""What the real Gemma 3 270M reaches on fintweets5, beside MiniLM: zero-shot, label words, LoRA and full fine-tuning, three seeds.

    python bench/gemma_results.py [--cells NAME...] [--seeds 1 2 3] [--rows N] [--valid-rows N] [--epochs N] [--table]

A cell is one model made and judged on data/fintweets5/valid.csv; each leaves one JSON in bench/results/gemma/, and a cell whose JSON is
there is not run again, so that the command can be stopped and called again. --rows and --valid-rows take the first N rows of the training and
validation tables; how many were used stands in the JSON, in the table, and in the file's name, so that a subset is never taken for the whole.

    zero-shot     the next word's logits of five words after a bare question, no example and nothing trained
    label-words   finch's own prompt: a question and six examples, what words get with no text taken off
    lora          finch train --preset gamma-3-lora, a seed each
    full          finch train of all 270M weights, products in bf16, a seed each
    minilm-lora   finch train --lora on all-MiniLM-L6-v2, a seed each
    minilm-full   finch train on all-MiniLM-L6-v2, a seed each

Figures of lora and the others are on the rows that also chose the best evaluation, so they flatter a little; zero-shot and label-words saw none.
Time is training's and evaluation's, memory the peak of the process that trained. What a cell does and how long it took goes to stderr.
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import benchlib

benchlib.offline()
sys.path.insert(0, str(benchlib.ROOT / "tests" / "parity"))
DATA = benchlib.ROOT / "data" / "fintweets5"
PLACE = benchlib.RESULTS / "gemma"
FINCH = os.environ.get("FINCH", str(benchlib.ROOT / "build" / "finch"))
SEEDED = ("lora", "full", "minilm-lora", "minilm-full")
CELLS = ("zero-shot", "label-words", *SEEDED)
FIGURES = ("macro_f1", "accuracy", "mcc", "roc_auc", "log_loss", "ece")
QUESTION = "Tweet: {}\nThe outlook for the stock is"
WORDS = (" terrible", " bad", " neutral", " good", " great")


def table(name, n, place):
    """The first n labelled rows (0: all) as a file of their own; (path, how many)."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(lines) if row["label"] in benchlib.LABELS]
    rows = rows[:n] if n else rows
    path = place / f"{name}.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *rows])
    return path, len(rows)


def finch(*words):
    """The document of a run, whose progress goes to stderr."""
    done = subprocess.run([FINCH, *map(str, words), "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"finch {' '.join(map(str, words))} ended with {done.returncode}")
    return json.loads(done.stdout)


def figures(probabilities, truth):
    """finch's own metrics of what a peer answers: through scikit-learn, with the names of finch eval."""
    import numpy as np
    from sklearn.metrics import accuracy_score, f1_score, log_loss, matthews_corrcoef, roc_auc_score
    p, y = np.asarray(probabilities), np.asarray(truth)
    said, sure = p.argmax(1), p.max(1)
    bins = np.minimum((sure * 15).astype(int), 14)
    ece = sum(abs((said[bins == b] == y[bins == b]).mean() - sure[bins == b].mean()) * (bins == b).mean() for b in range(15) if (bins == b).any())
    return {"macro_f1": f1_score(y, said, average="macro", labels=range(5), zero_division=0), "accuracy": accuracy_score(y, said),
            "mcc": matthews_corrcoef(y, said), "roc_auc": roc_auc_score(y, p, multi_class="ovr", labels=range(5)),
            "log_loss": log_loss(y, p, labels=range(5)), "ece": float(ece)}


def evaluate(model, valid):
    report = finch("eval", "--model", model, "--data", valid, "--bootstrap", 0)
    return {name: report[name] for name in FIGURES}, report["seconds"]


def run_label_words(train, valid, seed, args, place):
    import gemma_models
    found, seconds = evaluate(gemma_models.gguf_file(), valid)
    return {"figures": found, "eval_seconds": seconds}


def read(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return [(row["text"], benchlib.LABELS.index(row["label"])) for row in csv.DictReader(lines)]


def gemma_tokenizer(place):
    from tokenizers import Tokenizer
    import gemma_models
    import test_spm
    return Tokenizer.from_file(str(test_spm.reference(gemma_models.gguf_file())[0]))


def run_zero_shot(train, valid, seed, args, place):
    """In transformers: finch's label words have examples in their prompt, this has none."""
    import gemma_models
    import torch
    from transformers import Gemma3ForCausalLM
    tokenizer = gemma_tokenizer(place)
    words = [tokenizer.encode(word, add_special_tokens=False).ids[0] for word in WORDS]
    model = Gemma3ForCausalLM.from_pretrained(gemma_models.dequantised_folder(), dtype=torch.float32).eval()
    rows, probabilities, begin = read(valid), [], time.perf_counter()
    with torch.inference_mode():
        for i, (text, _) in enumerate(rows):
            if i % 100 == 0:
                benchlib.note(f"zero-shot: {i} of {len(rows)} rows, {time.perf_counter() - begin:.0f} s")
            ids = tokenizer.encode(QUESTION.format(text)).ids
            logits = model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits[0, -1, words]
            probabilities.append(torch.softmax(logits, 0).tolist())
    return {"figures": figures(probabilities, [label for _, label in rows]), "eval_seconds": time.perf_counter() - begin, "prompt": QUESTION}


def run_finch_training(words, model, train, valid, seed, args, place):
    out = place / "model"
    begin = time.perf_counter()
    card = finch("train", *words, "--model", model, "--train", train, "--valid", valid, "--output", out, "--seed", seed, "--epochs", args.epochs)
    seconds = time.perf_counter() - begin
    found, eval_seconds = evaluate(out, valid)
    return {"figures": found, "train_seconds": seconds, "examples_per_second": card["training"]["examples_per_second"], "steps": card["training"]["steps"],
            "stop_reason": card["training"]["stop_reason"], "peak_rss_bytes": card["peak_rss_bytes"], "eval_seconds": eval_seconds}


def float_folder():
    """The GGUF file's numbers in f32 with its tokenizer, as finch convert writes them: what the preset calls unquantised."""
    import gemma_models
    folder = gemma_models.MODELS / "gemma-3-270m-converted"
    if not folder.is_dir():
        finch("convert", "--model", gemma_models.gguf_file(), "--output", folder, "--type", "f32")
    return folder


def run_lora(train, valid, seed, args, place):
    return run_finch_training(("--preset", "gamma-3-lora"), float_folder(), train, valid, seed, args, place)


def run_minilm_lora(train, valid, seed, args, place):
    return run_finch_training(("--lora", "--learning-rate", "5e-4", "--batch", 16), benchlib.base_model(), train, valid, seed, args, place)


def run_minilm_full(train, valid, seed, args, place):
    return run_finch_training(("--batch", 16,), benchlib.base_model(), train, valid, seed, args, place)


def run_full(train, valid, seed, args, place):
    import gemma_models
    how = ("--batch", 8, "--learning-rate", "2e-5", "--warmup", "0.1", "--schedule", "linear", "--bf16")
    return run_finch_training(how, gemma_models.gguf_file(), train, valid, seed, args, place)


RUNS = {"zero-shot": run_zero_shot, "label-words": run_label_words, "lora": run_lora, "full": run_full, "minilm-lora": run_minilm_lora,
        "minilm-full": run_minilm_full}


def path_of(cell, seed, n_train, n_valid, epochs):
    trained = f"-{n_train}x{epochs}-seed{seed}" if cell in SEEDED else ""
    return PLACE / f"{cell}{trained}-on{n_valid}.json"


def run_cell(cell, seed, args):
    with tempfile.TemporaryDirectory(prefix="finch-gemma-results-") as name:
        place = pathlib.Path(name)
        (train, n_train), (valid, n_valid) = table("train", args.rows, place), table("valid", args.valid_rows, place)
        target = path_of(cell, seed, n_train, n_valid, args.epochs)
        if target.is_file():
            return benchlib.note(f"{target.name} is there")
        benchlib.note(f"{target.name} ...")
        begin = time.perf_counter()
        found = RUNS[cell](train, valid, seed, args, place)
        benchlib.note(f"{target.name}: macro F1 {found['figures']['macro_f1']:.4f} in {time.perf_counter() - begin:.0f} s")
        whole = args.rows == 0 and args.valid_rows == 0
        benchlib.emit({"cell": cell, "seed": seed if cell in SEEDED else None, "train_rows": n_train if cell in SEEDED else 0, "valid_rows": n_valid,
                       "epochs": args.epochs if cell in SEEDED else 0, "whole_tables": whole, "environment": benchlib.environment(os.cpu_count()), **found}, target)
    return None


def table_text():
    """The cells that were run, as a table; empty where there is none."""
    cells = {}
    for path in sorted(PLACE.glob("*.json")):
        one = json.loads(path.read_text(encoding="utf-8"))
        cells.setdefault((one["cell"], one["train_rows"], one["epochs"], one["valid_rows"]), []).append(one)
    text = "| model | trained on | judged on | seeds | macro F1 | accuracy | MCC | log loss | training | peak memory |\n|---|---|---|---|---|---|---|---|---|---|\n"
    for (cell, n_train, epochs, n_valid), found in sorted(cells.items(), key=lambda item: CELLS.index(item[0][0])):
        def mean(name):
            values = [one["figures"][name] for one in found]
            middle = sum(values) / len(values)
            return f"{middle:.4f}" + (f" ± {max(abs(v - middle) for v in values):.4f}" if len(values) > 1 else "")
        seconds = [one["train_seconds"] for one in found if "train_seconds" in one]
        peak = [one["peak_rss_bytes"] for one in found if "peak_rss_bytes" in one]
        text += (f"| {cell} | {f'{n_train} rows x {epochs}' if n_train else 'nothing'} | {n_valid} rows | {len(found)} | "
                 + " | ".join(mean(name) for name in ("macro_f1", "accuracy", "mcc", "log_loss"))
                 + f" | {f'{max(seconds):.0f} s' if seconds else '-'} | {f'{max(peak) / 2**20:.0f} MiB' if peak else '-'} |\n")
    return text if cells else ""


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    options.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    options.add_argument("--rows", type=int, default=0, help="training rows (default: all)")
    options.add_argument("--valid-rows", type=int, default=0, help="validation rows (default: all)")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--table", action="store_true", help="print the table of what is there and run nothing")
    args = options.parse_args()
    for cell in [] if args.table else args.cells:
        for seed in args.seeds if cell in SEEDED else [0]:
            run_cell(cell, seed, args)
    sys.stdout.write(table_text())


if __name__ == "__main__":
    main()
