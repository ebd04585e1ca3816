"""Near-duplicate clusters: time a row, finch over all rows beside datasketch's MinHashLSH over a sample.

    python bench/near.py [--rows 1700000] [--sample 100000] [--rounds 5]

finch's time is `seconds_comparing` of `finch prepare` with the near-duplicates on and exact duplicates off: reading the texts back,
folding, sketching, clustering. datasketch reads the same clean texts and does what bench/peers/near_peer.py says, on one thread (it has
no more). Recall and precision on planted pairs are a test: tests/text/test_near.c.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import benchlib
import drive
import prepare_data

GOAL = 20.0


def finch(args, source, folder, rows):
    found = drive.finch(args.threads, "prepare", "--input", source, "--output", folder / "near.parquet", "--no-duplicates", "--no-short",
                        "--no-language", "--no-floods", "--no-report")
    return {"seconds_per_row": found["seconds_comparing"] / found["rows"], "rows": found["rows"], "kept": found["kept"],
            "peak_rss_bytes": found["peak_rss_bytes"]}


def texts_of_sample(args, folder):
    """The first rows' clean texts, every one of them."""
    out = folder / "sample.parquet"
    drive.finch(args.threads, "prepare", "--input", prepare_data.ensure(args.sample), "--output", out, "--no-duplicates", "--no-near-duplicates",
                "--no-short", "--no-language", "--no-floods", "--no-report")
    return out


def peer(args, texts):
    done = subprocess.run([sys.executable, str(drive.PEERS / "near_peer.py"), "--input", str(texts), "--rows", str(args.sample)],
                          capture_output=True, text=True, env=drive.pinned(args.threads))
    if done.returncode != 0:
        raise drive.Failed(f"datasketch: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout)


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rows", type=int, default=1_700_000)
    options.add_argument("--sample", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    source = prepare_data.ensure(args.rows)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        folder = pathlib.Path(place)
        texts = texts_of_sample(args, folder)
        for turn in range(args.rounds):
            ours.append(finch(args, source, folder, args.rows))
            theirs.append(peer(args, texts))
            benchlib.note(f"  round {turn + 1}: finch {ours[-1]['seconds_per_row'] * 1e6:.2f}, datasketch "
                          f"{theirs[-1]['seconds_per_row'] * 1e6:.2f} us a row")
    import datasketch
    result = {"environment": benchlib.environment(args.threads), "rows": args.rows, "sample": args.sample,
              "kept": ours[-1]["kept"], "peer_clusters": theirs[-1]["clusters"], "peak_rss_bytes": ours[-1]["peak_rss_bytes"],
              "versions": {"datasketch": datasketch.__version__},
              "datasketch": drive.compare(args.rounds, ours, theirs, "seconds_per_row", GOAL, higher_is_better=False)}
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
