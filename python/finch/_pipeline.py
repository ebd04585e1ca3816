"""transformers' text-classification pipeline: the same calls, the same shapes of results."""
from __future__ import annotations

import itertools
import json
import os
import pathlib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from ._errors import DataError, UnsupportedError, UsageError
from ._model import Compute, Model
from ._texts import ArrowArray, ArrowStream, Texts

Function: TypeAlias = Literal["sigmoid", "softmax", "none"]
Prediction: TypeAlias = "dict[str, Any]"

TASKS = ("text-classification", "sentiment-analysis")
FUNCTIONS = ("sigmoid", "softmax", "none")
CUTS = (True, "longest_first", "only_first")
WHOLE = (False, "do_not_truncate")
BATCH = 256


class _Unset:
    """top_k=None means all classes, so that what was not said is something else."""

    def __repr__(self) -> str:
        return "1 per text, unwrapped"


UNSET = _Unset()


class _Settings:
    """What the pipeline was made with, and what one call changes of it."""

    def __init__(self, top_k: int | None | _Unset, function_to_apply: Function | None, truncation: bool | str | None,
                 max_length: int | None, batch_size: int | None) -> None:
        if not isinstance(top_k, _Unset) and top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise UsageError(f"top_k is {top_k!r}; it is a number from 1, or None for all classes", status="E_USAGE")
        function = None if function_to_apply is None else str(function_to_apply).lower()
        if function is not None and function not in FUNCTIONS:
            raise UsageError(f"function_to_apply is {function_to_apply!r}; it is one of {', '.join(FUNCTIONS)}, or None", status="E_USAGE")
        if truncation is not None and truncation not in (*CUTS, *WHOLE):
            raise UsageError(f"truncation is {truncation!r}; it is True or False", status="E_USAGE")
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise UsageError(f"batch_size is {batch_size!r}; it is a number from 1", status="E_USAGE")
        self.top_k = top_k
        self.function = function
        self.truncation = truncation
        self.max_length = max_length
        self.batch_size = batch_size

    def changed(self, **given: Any) -> _Settings:
        kept = {"top_k": self.top_k, "function_to_apply": self.function, "truncation": self.truncation,
                "max_length": self.max_length, "batch_size": self.batch_size}
        said = {name: value for name, value in given.items() if value is not None or name == "top_k"}
        if isinstance(said.get("top_k"), _Unset):
            del said["top_k"]
        return _Settings(**{**kept, **said})


class TextClassificationPipeline:
    """Texts to labels, called as transformers' pipeline of that name is.

    ============================  =====================================================
    input                         result
    ============================  =====================================================
    a ``str``                     ``[{"label", "score"}]``
    ``{"text": ...}``             ``{"label", "score"}``
    a list of those               a list of ``{"label", "score"}``
    a column (Arrow, Polars, ...) the same; a null's label is None, its score NaN
    a generator, a data set       an iterator, which reads ``batch_size`` texts ahead
    ============================  =====================================================

    With ``top_k`` each ``{"label", "score"}`` becomes a list of them, best first; given in the call, a single ``str`` gives that
    list itself. ``top_k=None`` lists all classes.
    """

    task = "text-classification"
    model: Model

    def __init__(self, model: Model, settings: _Settings, threads: int | None = None) -> None:
        self.model = model
        self._settings = settings
        self._threads = threads
        self._default = _default_function(model)

    def __call__(self, inputs: Any, *, top_k: int | None | _Unset = UNSET, function_to_apply: Function | None = None,
                 truncation: bool | str | None = None, max_length: int | None = None, batch_size: int | None = None,
                 padding: object = None) -> Any:
        """Classifies a text, a list, a column or a stream of texts; see the class for the shapes.

        Args:
            inputs: what to classify.
            top_k: how many classes of each text, best first; None for all.
            function_to_apply: what makes scores of the classifier's outputs: "softmax", "sigmoid" or "none". By default
                probabilities calibrated as the model's card says, which without a card is softmax (sigmoid for one class).
            truncation: False refuses texts that are longer than the model takes. By default they are cut.
            max_length: cuts texts at so many tokens.
            batch_size: how many texts of a stream are read and scored at a time.
            padding: taken and without effect: nothing is padded here.
        """
        settings = self._settings.changed(top_k=top_k, function_to_apply=function_to_apply, truncation=truncation,
                                          max_length=max_length, batch_size=batch_size)
        if isinstance(inputs, str):
            found = self._batch([inputs], settings)[0]
            return [found] if isinstance(top_k, _Unset) else found
        if isinstance(inputs, Mapping):
            return self._batch([_text_of(inputs)], settings)[0]
        if isinstance(inputs, (list, tuple)):
            return self._batch([_text_of(text) for text in inputs], settings)
        if _is_column(inputs):
            return self._batch(inputs, settings)
        if isinstance(inputs, (bytes, bytearray)) or not (isinstance(inputs, Iterable) or hasattr(inputs, "__getitem__")):
            raise TypeError(f"inputs are a str, a list, a column or an iterator of str, not {type(inputs).__name__}")
        return self._stream(inputs, settings)

    def _stream(self, inputs: Any, settings: _Settings) -> Iterator[Any]:
        items = (_text_of(item) for item in inputs)
        while batch := list(itertools.islice(items, settings.batch_size or BATCH)):
            yield from self._batch(batch, settings)

    def _batch(self, texts: Texts, settings: _Settings) -> list[Any]:
        scores = self._scores(texts, settings)
        labels = self.model.info.labels
        if isinstance(settings.top_k, _Unset):
            # The first of equal scores, as argmax has it; of a null's NaN there is none.
            best = scores.argmax(axis=1) if len(scores) else np.zeros(0, np.intp)
            return [_prediction(labels[at], score) for at, score in
                    zip(best.tolist(), np.take_along_axis(scores, best[:, None], axis=1)[:, 0].tolist())]
        order = np.argsort(-scores, axis=1, kind="stable")[:, :settings.top_k]
        ordered = np.take_along_axis(scores, order, axis=1)
        return [[_prediction(labels[at], score) for at, score in zip(row, row_scores)]
                for row, row_scores in zip(order.tolist(), ordered.tolist())]

    def _scores(self, texts: Texts, settings: _Settings) -> npt.NDArray[np.float32]:
        function = settings.function or self._default
        if settings.truncation in WHOLE and settings.truncation is not None:
            texts = self._refuse_long(texts, settings)
        if function is None:
            return self.model.score(texts, max_tokens=settings.max_length, threads=self._threads)
        logits = self.model.score(texts, output="logits", max_tokens=settings.max_length, threads=self._threads)
        if function == "none":
            return logits
        return _sigmoid(logits) if function == "sigmoid" else _softmax(logits)

    def _refuse_long(self, texts: Texts, settings: _Settings) -> Texts:
        most = min(settings.max_length or self.model.info.max_tokens, self.model.info.max_tokens)
        cut = np.flatnonzero(self.model.tokenize(texts, max_tokens=most).truncated)
        if len(cut) > 0:
            raise DataError(f"texts[{cut[0]}] has more than {most} tokens; leave out truncation=False to cut it, or shorten it",
                            status="E_DATA", row=int(cut[0]))
        return texts


def _prediction(label: str, score: float) -> Prediction:
    return {"label": None if score != score else label, "score": score}


def _sigmoid(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return cast("npt.NDArray[np.float32]", 1.0 / (1.0 + np.exp(-x)))


def _softmax(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return cast("npt.NDArray[np.float32]", powers / powers.sum(axis=1, keepdims=True))


def _text_of(item: Any) -> str:
    """A text, or transformers' {"text": ...}."""
    if not isinstance(item, Mapping):
        return cast(str, item)
    if set(item) != {"text"}:
        raise UnsupportedError(f"an input has the keys {', '.join(map(str, item))}; finch classifies single texts: give {{\"text\": ...}} "
                               "alone", status="E_UNSUPPORTED")
    return cast(str, item["text"])


def _is_column(inputs: object) -> bool:
    """A column in memory, as against a stream of texts: Arrow's, numpy's, a Series of pandas without pyarrow."""
    if isinstance(inputs, types.GeneratorType):
        return False
    return isinstance(inputs, (ArrowStream, ArrowArray, np.ndarray)) or hasattr(inputs, "to_numpy")


def _default_function(model: Model) -> str | None:
    """What transformers applies for the model's kind; None for the library's own calibrated softmax."""
    try:
        config = json.loads((pathlib.Path(model.info.path) / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        config = {}
    problem = config.get("problem_type") if isinstance(config, dict) else None
    if problem == "regression":
        return "none"
    return "sigmoid" if problem == "multi_label_classification" or len(model.info.labels) == 1 else None


def pipeline(task: str = "text-classification", model: str | os.PathLike[str] | Model | None = None, *, compute: Compute = "auto",
             threads: int | None = None, top_k: int | None | _Unset = UNSET, function_to_apply: Function | None = None,
             truncation: bool | str | None = None, max_length: int | None = None, batch_size: int | None = None,
             device: object = None) -> TextClassificationPipeline:
    """A pipeline as transformers.pipeline makes it, over finch's engine.

    >>> classify = finch.pipeline("text-classification")
    >>> classify("$AAPL beats and raises")
    [{'label': 'POSITIVE', 'score': 0.9...}]

    Args:
        task: "text-classification", or its other name "sentiment-analysis".
        model: as for `Model.open`, or an open model.
        compute: as for `Model.open`.
        threads: how many each call uses; by default all of the machine's.
        device: None, "cpu" or -1: the package computes on the CPU.
        top_k, function_to_apply, truncation, max_length, batch_size: what calls do where they say nothing else; see
            `TextClassificationPipeline.__call__`.
    """
    if task not in TASKS:
        raise UsageError(f"task is {task!r}; finch does {' and '.join(TASKS)}, which are the same", status="E_USAGE")
    if device is not None and str(device) not in ("cpu", "-1"):
        raise UsageError(f"device is {device!r}; finch computes on the CPU: leave it out", status="E_USAGE")
    settings = _Settings(top_k, function_to_apply, truncation, max_length, batch_size)
    opened = model if isinstance(model, Model) else Model.open(model, compute=compute)
    return TextClassificationPipeline(opened, settings, threads)
