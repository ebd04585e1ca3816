"""What the tests of the Python package share: the package from the checkout over the library of the build that is tested."""
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("FINCH", SOURCE / "build" / "finch")).parent
TINY_BERT = SOURCE / "tests" / "fixtures" / "models" / "tiny-bert"
TINY_MPNET = SOURCE / "tests" / "fixtures" / "models" / "tiny-mpnet"

os.environ["FINCH_LIBRARY"] = str(BUILD / "libfinch.so")
os.environ["FINCH_MODELS"] = str(SOURCE / "models")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
sys.path.insert(0, str(SOURCE / "python"))

TWEETS = ["$AAPL beats and raises, shares jump 6% after hours", "$TSLA crashes on weak deliveries", "Fed meets on Wednesday", "",
          "caf\u00e9 \U0001f680 $GME to the moon", "nul\0byte", "a tweet that is long enough for several micro-batches " * 3]
