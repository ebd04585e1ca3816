"""Scoring from Parquet to Parquet beside scoring the same tweets from memory: what reading and writing cost.

    python bench/score_files.py [--rows 96826] [--rounds 5]

Both are finch with the model that ships: `finch score --limit N` from its opened model to the finished output, and `finch bench score`,
which holds the texts in memory and keeps nothing. The ratio is files over memory: 1 means reading and writing are hidden.
"""
import pathlib
import sys
import tempfile

import benchlib
import drive

GOAL = 0.95


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rows", type=int, default=96_826)
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    files, memory = [], []
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        out = pathlib.Path(place) / "scored.parquet"
        for turn in range(args.rounds):
            files.append(drive.finch(args.threads, "score", "--input", benchlib.STOCKNET, "--output", out, "--limit", args.rows))
            memory.append(drive.finch(args.threads, "bench", "score", "--input", benchlib.STOCKNET, "--text-column", "body", "--rows", args.rows,
                                      "--runs", 1))
            benchlib.note(f"  round {turn + 1}: files {files[-1]['texts_per_second']:.0f}, memory {memory[-1]['texts_per_second']:.0f} tweets/s")
    if files[-1]["rows"] != args.rows:
        raise drive.Failed(f"{files[-1]['rows']} rows were scored, {args.rows} asked for")
    benchlib.emit({"environment": benchlib.environment(args.threads), "rows": args.rows,
                   "memory": drive.compare(args.rounds, files, memory, "texts_per_second", GOAL)}, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
