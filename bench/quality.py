"""What finch's own recipe reaches, a seed a model, judged by finch eval on the rows that bench/baseline_trainer.py reports on.

    python bench/quality.py --models build/model/seed-1 build/model/seed-2 build/model/seed-3 [--save bench/results/quality.json]

The models are those of tools/make_model.sh, which keeps the three best evaluations' mean by macro F1 on these rows, as the peer keeps its best
epoch; so both sides are flattered a little. Each is judged as it was trained (f32) and as it would ship (int8, by finch quantize).
"""
import json
import pathlib
import statistics
import tempfile

import benchlib
import drive

VALID, PEOPLES = benchlib.ROOT / "data" / "fintweets5" / "valid.csv", benchlib.ROOT / "data" / "tfns" / "valid.csv"
FIGURES = ("macro_f1", "accuracy", "weighted_f1", "kappa", "mcc", "log_loss")


def judge(args, model, *options):
    found = drive.finch(args.threads, "eval", "--model", model, *options, "--bootstrap", 0, "--quiet")
    return {name: found[name] for name in FIGURES}


def run_of(args, model, place):
    shipped = place / model.name
    drive.finch(None, "quantize", "--model", model, "--output", shipped, "--quiet")
    card = json.loads((model / "finch.json").read_text(encoding="utf-8"))
    return {"model": model.name, "seed": card["hyperparameters"]["seed"], "f32": judge(args, model, "--data", VALID),
            "int8": judge(args, shipped, "--data", VALID), "three_classes_int8": judge(args, shipped, "--data", PEOPLES, "--collapse", 3)}


def summary(runs, kind, figure):
    values = [run[kind][figure] for run in runs]
    return {"mean": statistics.fmean(values), "stdev": statistics.stdev(values) if len(values) > 1 else None}


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--models", type=pathlib.Path, nargs="+", required=True)
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="finch-quality-") as place:
        runs = [run_of(args, model.resolve(), pathlib.Path(place)) for model in args.models]
    benchlib.emit({"bench": "quality", "environment": benchlib.environment(args.threads), "seeds": runs,
                   "summary": {kind: {figure: summary(runs, kind, figure) for figure in FIGURES} for kind in ("f32", "int8", "three_classes_int8")}}, args.save)


if __name__ == "__main__":
    main()
