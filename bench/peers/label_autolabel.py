"""refuel-ai's autolabel on the same tweets, as bench/label.py's peer.

    AUTOLABEL_VENV/bin/python bench/peers/label_autolabel.py --url URL --input tweets.csv --output labels.csv

Its own classification task with its OpenAI provider, one tweet a prompt; it asks one prompt after another, whatever could be
in flight (labeler.py). Its prompt is made to end with the row that the stand-in understands. Its cache of answers is off; its count of tokens, for the
price, is by words.
"""
import argparse
import csv
import json
import os
import resource
import tempfile
import time

LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")
CONFIG = {
    "task_name": "bench", "task_type": "classification",
    "dataset": {"label_column": "label", "delimiter": ","},
    "model": {"provider": "openai", "name": "gpt-3.5-turbo", "params": {"request_timeout": 60}},
    "prompt": {"task_guidelines": "Label the tweet about financial markets with one of {labels}.", "labels": list(LABELS), "example_template": "{label}\n{row}"},
}


class Words:
    encode = staticmethod(str.split)


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--url", required=True)
    words.add_argument("--ca")
    words.add_argument("--input", required=True)
    words.add_argument("--output", required=True)
    options = words.parse_args()
    os.environ["OPENAI_API_BASE"] = options.url
    if options.ca:
        os.environ["REQUESTS_CA_BUNDLE"] = options.ca
    import pandas
    import tiktoken

    # Only counts tokens for the price, with tables from the network: words will do here.
    tiktoken.encoding_for_model = lambda name: Words
    from autolabel import AutolabelDataset, LabelingAgent
    with open(options.input, encoding="utf-8", newline="") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)]
    rows = [json.dumps([{"n": 1, "text": text}], ensure_ascii=False) for text in texts]
    os.chdir(tempfile.mkdtemp(prefix="autolabel-"))
    agent = LabelingAgent(CONFIG, cache=False, create_task=False)
    begin = time.monotonic()
    done = agent.run(AutolabelDataset(pandas.DataFrame({"row": rows, "label": [""] * len(rows)}), CONFIG), skip_eval=True)
    seconds = time.monotonic() - begin
    table = done.df
    labels = [label if label in LABELS else "" for label in table[done.generate_label_name("label")]]
    with open(options.output, "w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *zip(texts, labels)])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"tweets": len(texts), "unlabelled": labels.count(""), "seconds": seconds,
                      "cpu_seconds": used.ru_utime + used.ru_stime, "peak_rss_bytes": used.ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
