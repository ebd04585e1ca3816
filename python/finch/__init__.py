"""finch: market sentiment of financial tweets, by a C engine, with transformers' calls.

>>> import finch
>>> classify = finch.pipeline("text-classification")
>>> classify(["$AAPL beats and raises", "$TSLA crashes on weak deliveries"])

`Model` gives probabilities as numpy arrays, from lists of ``str`` and, without a copy, from columns of pyarrow, Polars and pandas.
Errors are `Error` and its kinds, which say what, where and what to do.
"""
from ._errors import DataError, Error, FileError, NotFoundError, OutOfMemoryError, UnsupportedError, UsageError
from ._model import Model, ModelInfo, Tokens
from ._native import version as _version
from ._pipeline import TextClassificationPipeline, pipeline

__version__ = _version()
__all__ = ["DataError", "Error", "FileError", "Model", "ModelInfo", "NotFoundError", "OutOfMemoryError", "TextClassificationPipeline",
           "Tokens", "UnsupportedError", "UsageError", "pipeline"]
