"""Near-duplicate clusters: time a row, finch over all rows beside datasketch's MinHashLSH over a sample; and recall among all rows.

    python bench/near.py [--rows 1700000] [--sample 100000] [--rounds 5] [--pairs 2000]

finch's time is `seconds_comparing` of `finch prepare` with the near-duplicates on and exact duplicates off: reading the texts back,
folding, sketching, clustering. datasketch reads the same clean texts and does what bench/peers/near_peer.py says, on one thread (it has
no more). Behind the rows stand planted pairs of random words, half at a Jaccard similarity of 0.80 to 0.82 of their shingles and half
at 0.70 to 0.79, counted here from the texts: of the first the share in one cluster is the recall, of the second none may be.
"""
import csv
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import benchlib
import drive
import prepare_data

GOAL = 20.0
RECALL_GOAL = 0.95
FOUND, APART = (0.80, 0.82), (0.70, 0.79)
FIRST_ID = 9 * 10**17  # of the planted rows: past every tweet's


def shingles(text):
    return {text[i:i + 5] for i in range(len(text) - 4)}


def pair(draw, least, most):
    """Two texts of random words, as like each other as asked: words of the second are changed a letter at a time."""
    word = lambda: "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9)))
    while True:
        words = [word() for _ in range(draw.randint(10, 20))]
        first = " ".join(words)
        for _ in range(40):
            at = draw.randrange(len(words))
            letter = draw.randrange(len(words[at]))
            words[at] = words[at][:letter] + draw.choice("abcdefghijklmnopqrstuvwxyz") + words[at][letter + 1:]
            a, b = shingles(first), shingles(" ".join(words))
            like = len(a & b) / len(a | b)
            if least <= like <= most:
                return first, " ".join(words)
            if like < least:
                break


def plant(args, source, target):
    """A table of the source's columns: pair i is rows 2i and 2i + 1 of the ids from FIRST_ID on, pairs to be found first."""
    draw = random.Random(prepare_data.SEED)
    with open(source, newline="", encoding="utf-8") as file:
        columns, like = (row for _, row in zip(range(2), csv.reader(file)))
    with open(target, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        for number in range(args.pairs):
            for side, text in enumerate(pair(draw, *(FOUND if number < args.pairs // 2 else APART))):
                out.writerow([{"tweet_id": FIRST_ID + 2 * number + side, "body": text}.get(name, value) for name, value in zip(columns, like)])


def look_for_pairs(args, folder):
    """What became of the planted pairs."""
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet
    cluster = {}
    for name in ("near.parquet", "near.dropped.parquet"):
        table = parquet.read_table(folder / name, columns=["tweet_id", "cluster_id"])
        table = table.filter(compute.greater_equal(table["tweet_id"], FIRST_ID))
        cluster |= dict(zip(table["tweet_id"].to_pylist(), table["cluster_id"].to_pylist()))
    if len(cluster) != 2 * args.pairs:
        raise drive.Failed(f"{len(cluster)} of {2 * args.pairs} planted rows came out")
    joined = [cluster[FIRST_ID + 2 * i] == cluster[FIRST_ID + 2 * i + 1] for i in range(args.pairs)]
    half = args.pairs // 2
    recall = sum(joined[:half]) / half
    return {"pairs_to_find": half, "similarity": FOUND, "recall": recall, "goal": RECALL_GOAL, "reached": recall >= RECALL_GOAL,
            "pairs_below": args.pairs - half, "similarity_below": APART, "joined_below": sum(joined[half:])}


def finch(args, source, planted, folder):
    found = drive.finch(args.threads, "prepare", "--input", source, planted, "--output", folder / "near.parquet", "--no-duplicates", "--no-short",
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
    options.add_argument("--pairs", type=int, default=2000, help="planted ones (default 2000)")
    args = options.parse_args()
    source = prepare_data.ensure(args.rows)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as place:
        folder = pathlib.Path(place)
        texts, planted = texts_of_sample(args, folder), folder / "planted.csv"
        plant(args, source, planted)
        for turn in range(args.rounds):
            ours.append(finch(args, source, planted, folder))
            theirs.append(peer(args, texts))
            benchlib.note(f"  round {turn + 1}: finch {ours[-1]['seconds_per_row'] * 1e6:.2f}, datasketch "
                          f"{theirs[-1]['seconds_per_row'] * 1e6:.2f} us a row")
        pairs = look_for_pairs(args, folder)
    import datasketch
    result = {"environment": benchlib.environment(args.threads), "rows": args.rows, "sample": args.sample,
              "kept": ours[-1]["kept"], "peer_clusters": theirs[-1]["clusters"], "peak_rss_bytes": max(turn["peak_rss_bytes"] for turn in ours),
              "planted": pairs, "versions": {"datasketch": datasketch.__version__},
              "datasketch": drive.compare(args.rounds, ours, theirs, "seconds_per_row", GOAL, higher_is_better=False)}
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
