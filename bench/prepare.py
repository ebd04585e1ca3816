"""Raw tweets to a clean table, finch beside Polars and DuckDB; and the memory that takes.

    python bench/prepare.py [--rows 1700000] [--rounds 5] [--engines polars duckdb duckdb-distinct]

The CSV of bench/prepare_data.py. Both sides: read it, mend and clean the texts (entities, NFC, mojibake, retweet mark, links and
names to tokens, white space), find cashtags, keep the first of equal texts in order, write Parquet with zstd's level 1. The peers' expressions
are in bench/peers/prepare_peer.py; finch leaves its other stages and the report off, and does more within the steps (the whole
entity table, company names beside cashtags, a table of what was dropped). Every side is a process of its own, measured
by its own clock; the import of a peer is not measured. DuckDB keeps the order with the window, and not with DISTINCT ON.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import benchlib
import drive
import prepare_data

GOALS = {"seconds": 1.0, "peak_rss_bytes": 2.0}
OTHER_STAGES_OFF = ("--no-short", "--no-language", "--no-near-duplicates", "--no-floods", "--no-report")
LIMIT = "1GiB"


def finch(args, source, folder, *more):
    return drive.finch(args.threads, "prepare", "--input", source, "--output", folder / "finch.parquet", *OTHER_STAGES_OFF, *more)


def peer(args, engine, source, folder):
    command = [sys.executable, str(drive.PEERS / "prepare_peer.py"), "--engine", engine, "--input", str(source), "--output",
               str(folder / f"{engine}.parquet"), "--threads", str(args.threads)]
    environment = {**drive.pinned(args.threads), "POLARS_MAX_THREADS": str(args.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise drive.Failed(f"{engine}: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout)


def rows_agree(ours, theirs):
    """Not the same expressions, so not the same texts to the letter; but nearly the same number of rows must stay."""
    if abs(ours["kept"] - theirs["rows"]) > 0.01 * ours["rows"]:
        raise drive.Failed(f"finch keeps {ours['kept']} rows, the peer {theirs['rows']}: they do not do the same work")


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rows", type=int, default=1_700_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--engines", nargs="+", default=["polars", "duckdb", "duckdb-distinct"])
    args = options.parse_args()
    source = prepare_data.ensure(args.rows)
    ours, limited, theirs = [], [], {engine: [] for engine in args.engines}
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        folder = pathlib.Path(place)
        for turn in range(args.rounds):
            ours.append(finch(args, source, folder))
            for engine in args.engines:
                theirs[engine].append(peer(args, engine, source, folder))
                rows_agree(ours[-1], theirs[engine][-1])
            said = ", ".join(f"{name} {found[-1]['seconds']:.2f}" for name, found in {"finch": ours, **theirs}.items())
            benchlib.note(f"  round {turn + 1}: {said} s")
        limited.append(finch(args, source, folder, "--memory-limit", LIMIT))
    result = {"environment": benchlib.environment(args.threads), "rows": args.rows, "kept": ours[-1]["kept"],
              "input_bytes": source.stat().st_size,
              "with_memory_limit": {"limit": LIMIT, "peak_rss_bytes": limited[0]["peak_rss_bytes"], "seconds": limited[0]["seconds"],
                                    "reached": limited[0]["peak_rss_bytes"] <= 1 << 30},
              "versions": {name: __import__(name).__version__ for name in ("polars", "duckdb")}}
    for engine in args.engines:
        result[engine] = {figure: drive.compare(args.rounds, ours, theirs[engine], figure, goal, higher_is_better=False)
                          for figure, goal in GOALS.items()}
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
