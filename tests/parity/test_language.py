"""How well a tweet's language is told: prints the figures of docs/clean.md, beside py3langid, and holds them.

tests/fixtures/text/language_tweets.tsv: 530 StockNet tweets, labelled by reading them (one reader). They were drawn in three ways:
200 at random; 190 at random of those that py3langid finds not English (mostly wrongly); 140 of those that it is sure of. The
last two are harder than tweets are, and favour no one but py3langid's own finds. "none" is a tweet that is in no language (names and tickers alone): it
counts neither way. None of them was trained on."""
import csv
import os
import re
import sys

import py3langid

import stages

TOO_SHORT, ENGLISH, OTHER = "0", "1", "2"


def labelled():
    with open(os.path.join(stages.SOURCE, "tests", "fixtures", "text", "language_tweets.tsv"), encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def peer_answer(text):
    """py3langid on the same tweet without links, names and tags; what is left too short is not dropped there either."""
    text = re.sub(r"https?:\S*|[@#$]\w+|\S*\d\S*", " ", text)
    letters = sum(c.isalpha() for c in text)
    return TOO_SHORT if letters < 14 else ENGLISH if py3langid.classify(text)[0] == "en" else OTHER


def figures(name, rows, answers):
    dropped = [row["language"] for row, answer in zip(rows, answers) if answer == OTHER and row["language"] != "none"]
    foreign = [answer for row, answer in zip(rows, answers) if row["language"] not in ("en", "none")]
    english = [answer for row, answer in zip(rows, answers) if row["language"] == "en"]
    precision = sum(code != "en" for code in dropped) / len(dropped)
    recall = foreign.count(OTHER) / len(foreign)
    print(f"{name:10} dropped {len(dropped)}, rightly {precision:.3f}; of {len(foreign)} foreign tweets found {recall:.3f} "
          f"(too short to tell {foreign.count(TOO_SHORT)}); of {len(english)} English ones kept {1 - english.count(OTHER) / len(english):.3f} "
          f"(too short {english.count(TOO_SHORT)})")
    return precision, recall


def main():
    rows = labelled()
    texts = [row["text"].encode() for row in rows]
    raw = [answer.decode().split() for answer in stages.run("language", texts)]
    cleaned = [answer.decode().split()[2] for answer in stages.run("language", stages.run("clean", texts))]
    answers = [answer for _, _, answer in raw]
    for drawn in ("random", "doubted", "foreign"):
        part = [i for i, row in enumerate(rows) if row["drawn"] == drawn]
        print(f"{drawn}: {len(part)}, of them foreign {sum(rows[i]['language'] not in ('en', 'none') for i in part)}, dropped {sum(answers[i] == OTHER for i in part)}")
    precision, recall = figures("finch", rows, answers)
    precision_cleaned, recall_cleaned = figures("cleaned", rows, cleaned)
    figures("py3langid", rows, [peer_answer(row["text"]) for row in rows])
    for row, (code, p, answer) in zip(rows, raw):
        if (answer == OTHER) != (row["language"] not in ("en", "none")) and answer != TOO_SHORT:
            print(f"  {row['language']:4} taken for {code:3} {p} {row['text'][:90]}")
    return not (min(precision, precision_cleaned) >= 0.98 and min(recall, recall_cleaned) >= 0.8)


if __name__ == "__main__":
    sys.exit(main())
