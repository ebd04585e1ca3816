"""Gemma's BPE on one thread, finch beside Hugging Face tokenizers: see tokenizing.py.

    python bench/spm.py [--peers-only]

With Gemma 3's real vocabulary. finch begins each pass with an empty memory of words.
"""
import sys

import benchlib
import drive
import tokenizing


def models():
    """(GGUF file, tokenizer.json that transformers makes of it): the parity test's."""
    here = benchlib.ROOT / "tests" / "parity"
    if str(here) not in sys.path:
        sys.path.append(str(here))
    import gemma_models
    import test_spm

    path = gemma_models.gguf_file()
    return path, test_spm.reference(path)[0]


if __name__ == "__main__":
    sys.exit(drive.run_main(lambda: tokenizing.run(__doc__, "Gemma's BPE, one thread", models, max_tokens=512, goal=10.0)))
