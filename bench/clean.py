"""Cleaning tweets on one thread, finch beside the Python that people write for it; and what cleaning does to a model's answers.

    python bench/clean.py [--rounds 5] [--skip-model]

Speed: all 96,826 tweets of the StockNet table. finch's side is build/parity_text_stages, a process that reads them from a pipe, cleans them as
text_clean's defaults say, and writes them to a pipe: start, pipes and all are counted. The peer has them in memory: html.unescape, ftfy
(NFC, nothing that text_clean does not do), and regular expressions for retweet marks, links, names and white space.

Model: accuracy and macro F1 of models/finch-mini-5 on fintweets5/valid.csv (five classes) and tfns/valid.csv (three), their texts raw,
cleaned by default (tokens), and with links and names removed.
"""
import csv
import html
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import benchlib
import drive

sys.path.insert(0, str(benchlib.ROOT / "tests" / "parity"))
GOAL = 10.0
RETWEET, LINK, USER = re.compile(r"^(?:RT ?@\w+:? )+", re.I), re.compile(r"https?://\S+|www\.\S+|https?:?/?/?…"), re.compile(r"(?<![\w@])@\w{1,20}")


def python_cleaner():
    import ftfy
    config = ftfy.TextFixerConfig(unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
                                  uncurl_quotes=False, fix_line_breaks=False)

    def clean(text):
        text = ftfy.fix_text(html.unescape(text), config)
        return " ".join(USER.sub("@user", LINK.sub("http", RETWEET.sub("", text))).split())
    return clean


def rate(work, texts):
    begin = time.perf_counter()
    work(texts)
    return {"texts_per_second": len(texts) / (time.perf_counter() - begin)}


def speed(stages, rounds):
    texts = [row["body"] for row in stages.tweets("body")]
    encoded, clean = [text.encode() for text in texts], python_cleaner()
    ours, theirs = [], []
    for turn in range(rounds):
        ours.append(rate(lambda part: stages.run("clean", part), encoded))
        theirs.append(rate(lambda part: [clean(text) for text in part], texts))
        benchlib.note(f"  round {turn + 1}: finch {ours[-1]['texts_per_second']:.0f}, Python {theirs[-1]['texts_per_second']:.0f} tweets/s")
    return drive.compare(rounds, ours, theirs, "texts_per_second", GOAL)


def without_tokens(text):
    return " ".join(re.sub(r"(?<!\w)http(?!\w)|@user", " ", text).split())


def evaluate(rows, texts, extra):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "texts.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows((text or ".", row["label"]) for row, text in zip(rows, texts))
        done = subprocess.run([str(drive.finch_binary()), "eval", "--model", str(benchlib.ROOT / "models" / "finch-mini-5"), "--data", str(path), "--json",
                               "--quiet", *extra], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return {"accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}


def model(stages):
    found = {}
    for name, extra in (("fintweets5", []), ("tfns", ["--collapse", "3"])):
        with open(benchlib.ROOT / "data" / name / "valid.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        raw = [row["text"] for row in rows]
        tokens = [answer.decode() for answer in stages.run("clean", [text.encode() for text in raw])]
        found[name] = {way: evaluate(rows, texts, extra)
                       for way, texts in (("raw", raw), ("tokens", tokens), ("removed", [without_tokens(text) for text in tokens]))}
        benchlib.note(f"  {name}: " + ", ".join(f"{way} {scores['accuracy']:.4f}" for way, scores in found[name].items()))
    return found


def main():
    options = benchlib.parser(__doc__)
    options.set_defaults(threads=1)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--skip-model", action="store_true")
    args = options.parse_args()
    os.environ.setdefault("FINCH", str(drive.finch_binary()))
    import stages
    result = {"what": "cleaning tweets, one thread", "environment": benchlib.environment(1), "html, ftfy and re": speed(stages, args.rounds)}
    if not args.skip_model:
        result["finch-mini-5"] = model(stages)
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
