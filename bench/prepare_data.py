"""The tweets that bench/prepare.py reads: a CSV of any number of rows made of the 96,826 of data/stocknet/tweets.parquet.

    python bench/prepare_data.py --rows 1700000 --output build/bench-prepare/tweets-1700000.csv

The first round is the table itself. In each further round a row is, drawn with the seed,
  10 %  posted again: the text as it is, with another link where it has one (equal once links are tokens)
  15 %  posted again with one word more at its end (a near-duplicate)
  75 %  a new text: the first half of one tweet's words and the second half of another's
so after cleaning about a sixth of the rows are exact duplicates, a few of them because new texts happen to be equal. Ids
count on, times move by a day a round, authors and figures are those of the tweet. Line ends inside tweets are \\n, which every
reader takes inside quotes; quoted as Python's csv module does it.
"""
import argparse
import csv
import os
import pathlib
import random
import re

import benchlib

LINK = re.compile(r"https?://t\.co/\w+")
SEED = 20261127


def again(draw, body):
    return LINK.sub(lambda _: f"https://t.co/{draw.getrandbits(40):010x}", body)


def variant(draw, bodies, at):
    body, kind = bodies[at], draw.random()
    if kind < 0.10:
        return again(draw, body)
    if kind < 0.25:
        return f"{again(draw, body)} {draw.choice(('wow', 'now', 'today', 'again', 'via', 'nice', 'hmm', 'ok', 'up', 'down'))}"
    words, others = body.split(" "), draw.choice(bodies).split(" ")
    return again(draw, " ".join(words[:(len(words) + 1) // 2] + others[len(others) // 2:]))


def write(rows, target):
    import pyarrow.parquet as parquet
    table = parquet.read_table(benchlib.STOCKNET)
    columns = table.column_names
    values = [table.column(name).to_pylist() for name in columns]
    values[columns.index("body")] = [body.replace("\r\n", "\n").replace("\r", "\n") for body in values[columns.index("body")]]
    bodies, ids, dates = (values[columns.index(name)] for name in ("body", "tweet_id", "post_date"))
    draw = random.Random(SEED)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + f".{os.getpid()}.tmp")
    with open(beside, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        for row in range(rows):
            turn, at = divmod(row, len(bodies))
            line = [column[at] for column in values]
            if turn > 0:
                line[columns.index("tweet_id")] = ids[at] + row
                line[columns.index("post_date")] = dates[at] + 86400 * turn
                line[columns.index("body")] = variant(draw, bodies, at)
            out.writerow(line)
    os.replace(beside, target)


def ensure(rows):
    """The path of the CSV with so many rows, made where it is missing."""
    target = benchlib.ROOT / "build" / "bench-prepare" / f"tweets-{rows}.csv"
    if not target.exists():
        benchlib.note(f"making {target.name}")
        write(rows, target)
    return target


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_700_000)
    options.add_argument("--output", type=pathlib.Path, required=True)
    chosen = options.parse_args()
    write(chosen.rows, chosen.output)
