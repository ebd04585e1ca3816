"""How well company names are found in StockNet tweets: prints the figures of docs/clean.md and holds them.

ticker_symbol says in which stocks' lists a tweet was: it is no list of all the companies the tweet names. So it tells recall (a
tweet of a stock's list whose text has the company's plain name) and only a lower bound of precision; the true precision comes from
130 names that were drawn at random and read by a person (tests/fixtures/text/ticker_names.tsv)."""
import csv
import os
import re
import sys

import stages

SAME = {"META": "FB", "GOOGL": "GOOG", "SHEL": "RDS-B", "RTX": "UTX"}  # the list has the symbol of 2014
# The name as a person would search for it, of the stocks whose name is no common word.
PLAIN = {"AAPL": "apple", "FB": "facebook", "GOOG": "google", "MSFT": "microsoft", "AMZN": "amazon", "BABA": "alibaba", "INTC": "intel",
         "CSCO": "cisco", "PFE": "pfizer", "JPM": "jpmorgan", "WFC": "wells fargo", "BAC": "bank of america", "MCD": "mcdonald's",
         "DIS": "disney", "XOM": "exxon", "CVX": "chevron", "BA": "boeing", "VZ": "verizon", "MRK": "merck", "CMCSA": "comcast"}


def names_of(answer):
    return {SAME.get(s, s) for item in answer.decode().split() for s, kind in [item.rsplit(":", 1)] if kind == "n"}


def recall(rows, answers):
    wanted = found = 0
    for row, answer in zip(rows, answers):
        text = re.sub(r"https?:\S*|[@$]\w+", " ", row["body"].replace("\u2019", "'"))
        for symbol in row["ticker_symbol"].split("|"):
            if symbol in PLAIN and re.search(rf"(?<![\w.]){re.escape(PLAIN[symbol])}(?!\w)", text, re.I):
                wanted += 1
                found += symbol in names_of(answer)
    return found, wanted


def read_by_people(rows, answers):
    by_id = {str(row["tweet_id"]): answer for row, answer in zip(rows, answers)}
    with open(os.path.join(stages.SOURCE, "tests", "fixtures", "text", "ticker_names.tsv"), encoding="utf-8") as file:
        drawn = [line for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    still = [line for line in drawn if SAME.get(line["symbol"], line["symbol"]) in names_of(by_id[line["tweet_id"]])]
    return sum(line["right"] == "yes" for line in still), len(still), len(drawn)


def main():
    rows = stages.tweets("tweet_id", "body", "ticker_symbol")
    answers = stages.run("tickers", [row["body"].encode() for row in rows])
    kinds = [item[-1:] for answer in answers for item in answer.split()]
    print(f"{len(rows):,} tweets: {kinds.count(b'c'):,} cashtags in the table, {kinds.count(b'u'):,} not in it, {kinds.count(b'n'):,} names")
    pairs = [(symbol in row["ticker_symbol"].split("|")) for row, answer in zip(rows, answers) for symbol in names_of(answer)]
    print(f"names in the list of the tweet's stocks: {sum(pairs) / len(pairs):.3f} of {len(pairs):,} (a lower bound of precision)")
    found, wanted = recall(rows, answers)
    print(f"recall of 20 plain names: {found / wanted:.3f} of {wanted:,}")
    right, still, drawn = read_by_people(rows, answers)
    print(f"names read by a person: {right} of {still} right ({drawn} drawn)")
    return not (found / wanted > 0.9 and right == still and still >= 0.97 * drawn)


if __name__ == "__main__":
    sys.exit(main())
