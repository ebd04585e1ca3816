"""Small random Gemmas that finch serve serves: a classifier, so that no label words are needed, with the tokenizer of tests/fixtures/spm."""
import os
import shutil
import sys

from finch_server import LABELS, SOURCE  # noqa: F401

sys.path.insert(0, os.path.join(SOURCE, "tests", "parity"))
import gemma_models  # noqa: E402

WORDS = 918


def make(folder, seed=2, **settings):
    import pathlib
    gemma_models.random_model("Gemma3TextForSequenceClassification", folder, seed=seed, labels=5, vocab_size=WORDS, eos_token_id=1,
                              **{"max_position_embeddings": 2048, **settings})
    shutil.copy(os.path.join(SOURCE, "tests", "fixtures", "spm", "tokenizer.json"), pathlib.Path(folder))
    return str(folder)
