"""A model that scores texts."""
from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _native, _places
from ._errors import Error, UsageError
from ._texts import Block, Texts, block

Compute: TypeAlias = Literal["auto", "f32", "bf16", "int8", "bf16x3"]
Output: TypeAlias = Literal["probabilities", "logits"]

# A call of the library can not be interrupted: Ctrl-C is heard between two of them.
TEXTS_A_CALL = 16384


class _Process:
    """Whether threads of the library's may be used: a process that was forked off has none of those that its parent started, and
    their runtime would wait for them for ever."""

    used = False
    forked = False

    @classmethod
    def note_fork(cls) -> None:
        cls.forked = cls.forked or cls.used

    @classmethod
    def threads(cls, asked: int | None) -> int:
        cls.used = True
        if not cls.forked:
            return asked or 0
        if asked is not None and asked > 1:
            raise UsageError(f"{asked} threads were asked for in a process that was forked off after finch had started threads; start "
                             "processes with multiprocessing's \"spawn\", or open the model after the fork", status="E_USAGE")
        return 1


os.register_at_fork(after_in_child=_Process.note_fork)


class ModelInfo(NamedTuple):
    """What a model is.

    Attributes:
        path: the folder or file that it was opened from.
        architecture: ``"bert"``, ``"mpnet"`` or ``"gemma3"``.
        compute: the type of the layers' products; never ``"auto"``.
        labels: the classes' names, in the order of the columns of `Model.score`.
        max_tokens: that a text may have, special tokens counted; longer ones are cut.
        vocab_size: token ids are below it.
        temperature: of the calibration in the model's card; 1.0 where it has none.
    """

    path: str
    architecture: str
    compute: str
    labels: tuple[str, ...]
    max_tokens: int
    vocab_size: int
    temperature: float


class Tokens(NamedTuple):
    """Token ids of n texts, end to end.

    Attributes:
        ids: all texts' ids, special tokens among them.
        offsets: [n + 1]; text i has ``ids[offsets[i]:offsets[i + 1]]``.
        truncated: [n] whether a text was cut.
    """

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.uint64]
    truncated: npt.NDArray[np.bool_]

    def lists(self) -> list[list[int]]:
        """A list of ids for each text, as Hugging Face tokenizers give them."""
        return [self.ids[begin:end].tolist() for begin, end in zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist())]


class Model:
    """An open model. Threads may share it: every call has its own working memory and lets go of the interpreter's lock.

    >>> with finch.Model.open() as model:
    ...     model.score(["$AAPL beats and raises"]).argmax(axis=1)
    """

    info: ModelInfo

    def __init__(self, path: str | os.PathLike[str] | None = None, *, compute: Compute = "auto") -> None:
        """As `Model.open`."""
        self._handle: int | None = None
        self._lock = threading.Lock()  # guards _handle, _calls and _closing
        self._calls = 0
        self._closing = False
        if compute not in _native.COMPUTES:
            raise UsageError(f"compute is {compute!r}; it is one of {', '.join(_native.COMPUTES)}", status="E_USAGE")
        place = _places.model(path)
        opened = ctypes.c_void_p()
        _Process.used = True
        _native.call("finch_model_open", os.fsencode(place), _native.COMPUTES.index(compute), ctypes.byref(opened))
        self._handle = opened.value
        self.info = self._read_info(place)

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None, *, compute: Compute = "auto") -> Model:
        """Opens a model.

        Args:
            path: a folder in Hugging Face layout, a GGUF file of a Gemma 3, the name of a model in the Hub's cache
                (``"ProsusAI/finbert"``), or of one in a folder of ``FINCH_MODELS``. ``None`` is the model that the package
                carries.
            compute: the type of the layers' products; ``"auto"`` is int8 where the weights are int8, else f32.

        Raises:
            NotFoundError: there is no such model.
            DataError, UnsupportedError, FileError: the message names file, place and remedy.
        """
        return cls(path, compute=compute)

    # ---- scoring ----

    def score(self, texts: Texts, *, output: Output = "probabilities", max_tokens: int | None = None,
              threads: int | None = None) -> npt.NDArray[np.float32]:
        """Class probabilities, [n, classes], columns in the order of ``info.labels``.

        A row depends on its text and the model alone: not on the other texts, nor on the number of threads.

        Args:
            texts: a list of ``str``, or a column of pyarrow, Polars or pandas, which is read without a copy. The row of a
                null is NaN.
            output: ``"probabilities"``, calibrated as the model's card says, or the classifier's ``"logits"``.
            max_tokens: cuts longer texts; by default as many as the model takes.
            threads: how many the call uses; by default all of the machine's, and one in a process that was forked off
                after finch was used.

        Raises:
            TypeError: something that is no collection of texts, or a member that is no ``str``.
            DataError: a text that is no Unicode, or a model whose outputs are not finite; `Error.row` says which.
            UsageError: options that are not possible, or a model that was closed.
        """
        if output not in _native.OUTPUTS:
            raise UsageError(f"output is {output!r}; it is one of {', '.join(_native.OUTPUTS)}", status="E_USAGE")
        options = self._options(max_tokens, threads, output)
        given = block(texts)
        out = np.full((len(given), len(self.info.labels)), np.nan, np.float32)
        self._score(given, options, out, None)
        return out

    def sentiment(self, texts: Texts, *, max_tokens: int | None = None, threads: int | None = None) -> npt.NDArray[np.float64]:
        """One number from -1 (strongly negative) to 1 for each text: the sum of probability x (class - 2) / 2.

        Arguments and errors are those of `score`. NaN for a null.
        """
        options = self._options(max_tokens, threads, "probabilities")
        given = block(texts)
        out = np.full(len(given), np.nan, np.float64)
        self._score(given, options, np.empty((len(given), len(self.info.labels)), np.float32), out)
        return out

    def tokenize(self, texts: Texts, *, max_tokens: int | None = None) -> Tokens:
        """Token ids as Hugging Face tokenizers give them for the same files. A null is an empty text."""
        options = self._options(max_tokens, None, "probabilities")
        given = block(texts)
        offsets, truncated = np.zeros(len(given) + 1, np.uint64), np.zeros(len(given), np.bool_)
        with self._borrowed() as handle:
            texts_at = given.texts.ctypes.data
            _native.call("finch_token_offsets", handle, texts_at, len(given), ctypes.byref(options), offsets.ctypes.data,
                         truncated.ctypes.data)
            ids = np.empty(int(offsets[-1]), np.int32)
            _native.call("finch_tokenize", handle, texts_at, len(given), ctypes.byref(options), offsets.ctypes.data,
                         ids.ctypes.data)
        return Tokens(ids, offsets, truncated)

    def _score(self, given: Block, options: _native.ScoreOptions, rows: npt.NDArray[np.float32],
               sentiments: npt.NDArray[np.float64] | None) -> None:
        """Fills the rows of the texts that are there, which the library gets without gaps."""
        present = given.present()
        whole = bool(present.all())
        texts = given.texts if whole else given.texts[present]
        scores = rows if whole else np.empty((len(texts), rows.shape[1]), np.float32)
        sums = sentiments if whole or sentiments is None else np.empty(len(texts), np.float64)
        with self._borrowed() as handle:
            for begin in range(0, len(texts), TEXTS_A_CALL):
                n = min(TEXTS_A_CALL, len(texts) - begin)
                self._score_some(handle, texts[begin:begin + n], options, scores[begin:begin + n],
                                 None if sums is None else sums[begin:begin + n], begin)
        if not whole:
            rows[present] = scores
            if sentiments is not None:
                sentiments[present] = sums

    @staticmethod
    def _score_some(handle: int, texts: npt.NDArray[np.void], options: _native.ScoreOptions, scores: npt.NDArray[np.float32],
                    sums: npt.NDArray[np.float64] | None, begin: int) -> None:
        try:
            _native.call("finch_score", handle, texts.ctypes.data, len(texts), ctypes.byref(options), scores.ctypes.data,
                         None if sums is None else sums.ctypes.data)
        except Error as why:
            if why.row is not None:
                why.row += begin
            raise

    @staticmethod
    def _options(max_tokens: int | None, threads: int | None, output: Output) -> _native.ScoreOptions:
        for name, value in (("max_tokens", max_tokens), ("threads", threads)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"{name} is {value!r}; it is a whole number from 1, or None", status="E_USAGE")
        return _native.ScoreOptions(ctypes.sizeof(_native.ScoreOptions), _Process.threads(threads), max_tokens or 0,
                                    _native.OUTPUTS.index(output))

    # ---- its life ----

    def _read_info(self, path: str) -> ModelInfo:
        info = _native.ModelInfo(ctypes.sizeof(_native.ModelInfo))
        _native.call("finch_model_get_info", self._handle, ctypes.byref(info))
        labels = tuple(_native.LIBRARY.finch_model_label(self._handle, i).decode("utf-8", "replace") for i in range(info.n_classes))
        return ModelInfo(path, info.architecture.decode(), _native.COMPUTES[info.compute], labels, info.max_tokens, info.vocab_size,
                         info.temperature)

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[int]:
        """The handle, which stays good until the call has ended, even where another thread closes the model meanwhile."""
        with self._lock:
            if self._handle is None or self._closing:
                raise UsageError("the model is closed; open it again with finch.Model.open", status="E_USAGE")
            handle = self._handle
            self._calls += 1
        try:
            yield handle
        finally:
            with self._lock:
                self._calls -= 1
                self._free_unused()

    def _free_unused(self) -> None:
        if self._closing and self._calls == 0 and self._handle is not None:
            _native.LIBRARY.finch_model_close(self._handle)
            self._handle = None

    def close(self) -> None:
        """Gives the model's memory back as soon as no call uses it. Calls that come later raise UsageError."""
        with self._lock:
            self._closing = True
            self._free_unused()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *why: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closing"):
            self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "info"):
            return "<finch.Model, not open>"
        state = ", closed" if self._closing else ""
        return f"<finch.Model {self.info.path}: {self.info.architecture}, {len(self.info.labels)} classes, {self.info.compute}{state}>"
