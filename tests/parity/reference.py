"""transformers' logits of real tweets, frozen, and how they were made.

    python tests/parity/reference.py freeze [minilm] [bert-base] [mpnet]    writes tests/fixtures/parity/<model>.npy (minutes)

The rows are the first 2,000 bodies of data/stocknet/tweets.parquet, the reference is transformers in f32, texts of one
length together so that nothing is padded. How far that is from its own double precision on some rows is printed while
freezing: a few 1e-6, a small part of the tolerance. tests/parity/test_logits.py computes some rows anew, so that a frozen
file of other weights or another version cannot pass unseen.
"""
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np  # noqa: E402
import pyarrow.parquet as parquet  # noqa: E402
import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402

import make_models  # noqa: E402

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
FIXTURES = SOURCE / "tests" / "fixtures" / "parity"
MODELS = SOURCE / "build" / "models"
TWEETS = SOURCE / "data" / "stocknet" / "tweets.parquet"
N_ROWS = 2000
MAX_TOKENS = 128


def bodies(count=N_ROWS):
    return parquet.read_table(TWEETS, columns=["body"])["body"].to_pylist()[:count]


def logits(folder, texts, kind=torch.float32, batch=16):
    """[n_texts, n_labels]; texts of one length together, so that nothing is padded."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=kind).eval()
    encoded = [found.ids for found in tokenizer.encode_batch(texts)]
    by_length = {}
    for at, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(at)
    out = np.empty((len(texts), model.config.num_labels))
    with torch.inference_mode():
        for rows in by_length.values():
            for begin in range(0, len(rows), batch):
                chunk = rows[begin:begin + batch]
                out[chunk] = model(input_ids=torch.tensor([encoded[at] for at in chunk])).logits.double().numpy()
    return out


def freeze(name):
    folder = make_models.ensure(name, MODELS)
    texts = bodies()
    found = logits(folder, texts)
    some = slice(0, None, len(texts) // 40)
    apart = np.abs(logits(folder, texts[some], torch.float64) - found[some]).max()
    print(f"{name}: logits from {found.min():.2f} to {found.max():.2f}, spread of a label {found.std(axis=0).mean():.2f}; "
          f"double precision is within {apart:.1e} of this", flush=True)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    np.save(FIXTURES / f"{name}.npy", found.astype(np.float32))


def main():
    known = ("minilm", "bert-base", "mpnet")
    names = sys.argv[2:] or known
    if len(sys.argv) < 2 or sys.argv[1] != "freeze" or any(name not in known for name in names):
        print(__doc__, file=sys.stderr)
        return 2
    for name in names:
        freeze(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
