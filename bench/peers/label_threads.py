"""The labelling script that people write: requests in a ThreadPoolExecutor, as bench/label.py's peer.

    python bench/peers/label_threads.py --url URL --input tweets.csv --batch 1|20 --in-flight 32 --output labels.csv

batch 1 asks for one tweet a prompt, as refuel-ai's autolabel does (labeler.py: one prompt a row); batch 20 is the same
script by someone who put many tweets into a prompt. A session a thread with kept connections, retries with back-off on
429 and 5xx, JSON answers under a schema, checked numbers and classes, what fails is asked again alone. It keeps no state:
killed, it starts anew.
"""
import argparse
import concurrent.futures
import csv
import json
import random
import resource
import threading
import time

import requests

LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")
PROMPT = "Label each tweet about financial markets with one of " + ", ".join(LABELS) + ". Answer as JSON: {\"labels\":[{\"n\":1,\"label\":\"...\"}]}.\n\n"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "labels", "strict": True, "schema": {
    "type": "object", "additionalProperties": False, "required": ["labels"], "properties": {"labels": {"type": "array", "items": {
        "type": "object", "additionalProperties": False, "required": ["n", "label"],
        "properties": {"n": {"type": "integer"}, "label": {"type": "string", "enum": list(LABELS)}}}}}}}}
TRIES = 6
local = threading.local()


def session():
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.trust_env = False
    return local.session


def ask(options, texts):
    """{place: label} of the texts that came back right."""
    rows = json.dumps([{"n": at + 1, "text": text} for at, text in enumerate(texts)], ensure_ascii=False)
    body = {"model": options.model, "temperature": 0, "response_format": SCHEMA, "messages": [{"role": "user", "content": PROMPT + rows}]}
    for attempt in range(TRIES):
        try:
            answer = session().post(options.url + "/chat/completions", json=body, timeout=60, verify=options.ca or True)
            if answer.status_code == 200:
                labels = json.loads(answer.json()["choices"][0]["message"]["content"])["labels"]
                return {row["n"] - 1: row["label"] for row in labels if row["label"] in LABELS and 1 <= row["n"] <= len(texts)}
            if answer.status_code not in (429, 500, 502, 503):
                break
        except (requests.RequestException, ValueError, KeyError, TypeError):
            pass
        time.sleep(min(20, 2 ** attempt * random.uniform(0.5, 1)))
    return {}


def label(options, texts):
    found = ask(options, texts)
    if len(texts) > 1:
        for at, text in enumerate(texts):
            if at not in found:
                found.update({at: one for one in ask(options, [text]).values()})
    return [found.get(at, "") for at in range(len(texts))]


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--url", required=True)
    words.add_argument("--ca")
    words.add_argument("--model", default="standin/five")
    words.add_argument("--input", required=True)
    words.add_argument("--output", required=True)
    words.add_argument("--batch", type=int, required=True)
    words.add_argument("--in-flight", type=int, required=True)
    options = words.parse_args()
    begin = time.monotonic()
    with open(options.input, encoding="utf-8", newline="") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)]
    batches = [texts[at:at + options.batch] for at in range(0, len(texts), options.batch)]
    with concurrent.futures.ThreadPoolExecutor(options.in_flight) as pool:
        labels = [one for batch in pool.map(lambda batch: label(options, batch), batches) for one in batch]
    with open(options.output, "w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *zip(texts, labels)])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"tweets": len(texts), "unlabelled": labels.count(""), "seconds": time.monotonic() - begin,
                      "cpu_seconds": used.ru_utime + used.ru_stime, "peak_rss_bytes": used.ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
