"""The peer for model quality: MiniLM fine-tuned with transformers' Trainer, as a careful user would.

    python bench/baseline_trainer.py --seeds 1 2 3 --save bench/results/baseline_trainer.json

Same base weights, same rows and same validation rows as the model that finch ships. The recipe is the common one:
AdamW, lr 5e-5, linear warm-up over 10 % of the steps then linear decay, weight decay 0.01, batch 16, at most 64 tokens,
padding to the longest of the batch, four epochs, the epoch with the best macro F1 on the validation rows kept. Texts
are taken as they are. The validation rows choose the epoch and are reported, which flatters the peer a little.
"""
import csv
import json
import pathlib
import statistics
import tempfile
import time

import benchlib

benchlib.offline()

import numpy as np  # noqa: E402  (the environment must be set before these are imported)
import torch  # noqa: E402
from sklearn import metrics as sk  # noqa: E402
from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding,  # noqa: E402
                          PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed)


FIGURES = ("macro_f1", "accuracy", "weighted_f1", "kappa", "mcc", "log_loss", "seconds", "examples_per_second")


class Rows(torch.utils.data.Dataset):
    """Encoded once, so that the clock measures training and not the reading of a file."""

    def __init__(self, path, tokenizer, max_tokens):
        with open(path, encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        unknown = {row["label"] for row in rows} - set(benchlib.LABELS)
        if unknown:
            raise SystemExit(f"{path}: labels outside the set: {sorted(unknown)}")
        self.labels = [benchlib.LABELS.index(row["label"]) for row in rows]
        self.encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=max_tokens)["input_ids"]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        return {"input_ids": self.encoded[at], "labels": self.labels[at]}


def measure(logits, labels):
    """The metrics of `finch eval`, by scikit-learn."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    probs = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    predicted = probs.argmax(axis=1)
    ids = list(range(len(benchlib.LABELS)))
    return {
        "macro_f1": float(sk.f1_score(labels, predicted, labels=ids, average="macro", zero_division=0)),
        "accuracy": float(sk.accuracy_score(labels, predicted)),
        "weighted_f1": float(sk.f1_score(labels, predicted, labels=ids, average="weighted", zero_division=0)),
        "kappa": float(sk.cohen_kappa_score(labels, predicted)),
        "mcc": float(sk.matthews_corrcoef(labels, predicted)),
        "log_loss": float(sk.log_loss(labels, probs, labels=ids)),
        "per_class_f1": dict(zip(benchlib.LABELS, map(float, sk.f1_score(labels, predicted, labels=ids, average=None, zero_division=0)))),
    }


class EpochClock(TrainerCallback):
    """Seconds of training alone, evaluation left out; a line to stderr each epoch."""

    def __init__(self):
        self.training_seconds = 0.0
        self.began = None

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.began = time.perf_counter()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.training_seconds += time.perf_counter() - self.began

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        benchlib.note(f"  epoch {state.epoch:.0f}: macro F1 {metrics['eval_macro_f1']:.4f}, accuracy {metrics['eval_accuracy']:.4f}, "
                      f"{self.training_seconds:.0f} s of training so far")


def train_once(seed, args, tokenizer, train, valid):
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        benchlib.base_model(), num_labels=len(benchlib.LABELS), dtype=torch.float32,
        id2label=dict(enumerate(benchlib.LABELS)), label2id={name: at for at, name in enumerate(benchlib.LABELS)})
    clock = EpochClock()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="finch-baseline-") as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder, seed=seed, data_seed=seed, num_train_epochs=args.epochs, learning_rate=args.lr,
                lr_scheduler_type="linear", warmup_steps=0.1, weight_decay=0.01, per_device_train_batch_size=args.batch,
                per_device_eval_batch_size=32, eval_strategy="epoch", save_strategy="epoch", save_only_model=True, save_total_limit=1,
                load_best_model_at_end=True, metric_for_best_model="macro_f1", greater_is_better=True,
                use_cpu=True, report_to=[], disable_tqdm=True, logging_strategy="no"),
            train_dataset=train, eval_dataset=valid,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda p: {k: v for k, v in measure(p.predictions, p.label_ids).items() if k != "per_class_f1"},
            callbacks=[clock])
        trainer.remove_callback(PrinterCallback)  # it would print among the JSON
        trainer.train()
        logits = trainer.predict(valid).predictions
        best_epoch = [h["epoch"] for h in trainer.state.log_history
                      if h.get("eval_macro_f1") == trainer.state.best_metric][0]
        epochs = [{k.removeprefix("eval_"): h[k] for k in ("epoch", "eval_macro_f1", "eval_accuracy", "eval_log_loss", "eval_mcc")}
                  for h in trainer.state.log_history if "eval_macro_f1" in h]
    result = {"seed": seed, **measure(logits, np.asarray(valid.labels)), "best_epoch": best_epoch, "epochs": epochs,
              "seconds": time.perf_counter() - began, "training_seconds": clock.training_seconds,
              "examples_per_second": args.epochs * len(train) / clock.training_seconds}
    return result


def summary(result):
    """Adds mean and standard deviation over the seeds. A seed whose process was held up (times null) counts for its quality alone."""
    runs = result["seeds"]
    values = {name: [run[name] for run in runs if run[name] is not None] for name in FIGURES}
    result["mean"] = {name: statistics.fmean(found) for name, found in values.items()}
    result["stdev"] = {name: statistics.stdev(found) for name, found in values.items() if len(found) > 1}
    return result


def commands(part):
    command = part["environment"]["command"]
    return [command] if isinstance(command, str) else command


def merge(paths, untimed):
    """Seeds that ran one by one become one result; they must be of one recipe."""
    parts = [json.loads(pathlib.Path(path).read_text(encoding="utf-8")) for path in paths]
    for path, part in zip(paths, parts):
        if part["recipe"] != parts[0]["recipe"] or part["environment"]["versions"] != parts[0]["environment"]["versions"]:
            raise SystemExit(f"{path}: another recipe or other versions than {paths[0]}; run these seeds again")
    first = parts[0]
    first["seeds"] = [run for part in parts for run in part["seeds"]]
    for run in first["seeds"]:
        if run["seed"] in untimed:
            run |= dict.fromkeys(("seconds", "training_seconds", "examples_per_second"))
    first["environment"]["command"] = [command for part in parts for command in commands(part)]
    return summary(first)


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--lr", type=float, default=5e-5)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--max-tokens", type=int, default=64)
    options.add_argument("--train", default=str(benchlib.ROOT / "data/fintweets5/train.csv"))
    options.add_argument("--valid", default=str(benchlib.ROOT / "data/fintweets5/valid.csv"))
    options.add_argument("--merge", nargs="+", metavar="JSON", help="train nothing: make one result of these of single seeds")
    options.add_argument("--untimed", type=int, nargs="*", default=[], help="with --merge: seeds whose times say nothing, because the process was held up")
    args = options.parse_args()
    if args.merge:
        benchlib.emit(merge(args.merge, args.untimed), args.save)
        return

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(benchlib.base_model())
    train = Rows(args.train, tokenizer, args.max_tokens)
    valid = Rows(args.valid, tokenizer, args.max_tokens)
    seeds = []
    for seed in args.seeds:
        benchlib.note(f"seed {seed}: {len(train)} rows, {args.epochs} epochs, {args.threads} threads")
        seeds.append(train_once(seed, args, tokenizer, train, valid))
    benchlib.emit(summary({
        "what": "MiniLM fine-tuned with transformers' Trainer on fintweets5/train.csv, measured on fintweets5/valid.csv",
        "environment": benchlib.environment(args.threads),
        "recipe": {"lr": args.lr, "warmup": 0.1, "weight_decay": 0.01, "batch": args.batch, "max_tokens": args.max_tokens,
                   "epochs": args.epochs, "optimizer": "AdamW", "keep": "best macro F1 on the validation rows",
                   "train_rows": len(train), "valid_rows": len(valid)},
        "seeds": seeds,
    }), args.save)


if __name__ == "__main__":
    main()
