"""Calls of parity_text_stages, the text room's functions as a program, and the tweets that tests run them over."""
import os
import struct
import subprocess

SOURCE = os.environ.get("FINCH_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAM = os.path.join(os.path.dirname(os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))), "parity_text_stages")


def run(stage, texts):
    """One answer a text; texts and answers are bytes."""
    packed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    done = subprocess.run([PROGRAM, stage], input=packed, capture_output=True, check=True)
    answers, at, out = [], 0, done.stdout
    while at < len(out):
        size, = struct.unpack_from("<I", out, at)
        answers.append(out[at + 4:at + 4 + size])
        at += 4 + size
    assert len(answers) == len(texts), f"{len(answers)} answers to {len(texts)} texts"
    return answers


def tweets(*columns):
    import pyarrow.parquet
    return pyarrow.parquet.read_table(os.path.join(SOURCE, "data", "stocknet", "tweets.parquet"), columns=list(columns)).to_pylist()
