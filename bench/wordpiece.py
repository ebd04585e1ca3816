"""WordPiece on one thread, finch beside Hugging Face tokenizers: see tokenizing.py.

    python bench/wordpiece.py [--peers-only]

(Not named tokenize.py: that would hide Python's own module.)
"""
import sys

import drive
import make_models
import tokenizing


def models():
    folder, _ = make_models.ensure("minilm")
    return folder, folder / "tokenizer.json"


if __name__ == "__main__":
    sys.exit(drive.run_main(lambda: tokenizing.run(__doc__, "WordPiece, one thread", models, max_tokens=128, goal=10.0)))
