"""Inputs as the library wants them: an address and a number of bytes for each text.

Arrow columns (pyarrow, Polars, pandas: whatever has ``__arrow_c_stream__`` or ``__arrow_c_array__``) are read where they lie.
Lists of ``str`` are encoded into one block.
"""
from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from . import _native
from ._errors import DataError, UnsupportedError, UsageError


@runtime_checkable
class ArrowStream(Protocol):
    """A column with Arrow's PyCapsule interface, in chunks."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@runtime_checkable
class ArrowArray(Protocol):
    """A column with Arrow's PyCapsule interface, in one piece."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...


Texts: TypeAlias = "Iterable[str] | ArrowStream | ArrowArray"

TEXT = np.dtype([("at", np.uintp), ("size_bytes", np.uintp)])  # finch_text


class Block:
    """Texts that stay where ``at`` says for as long as the block lives.

    Attributes:
        texts: [n] of TEXT; a null has the address 0.
    """

    texts: npt.NDArray[np.void]
    _kept: object

    def __init__(self, texts: npt.NDArray[np.void], kept: object) -> None:
        self.texts = texts
        self._kept = kept

    def __len__(self) -> int:
        return len(self.texts)

    def present(self) -> npt.NDArray[np.bool_]:
        """[n] whether a text is there."""
        there: npt.NDArray[np.bool_] = self.texts["at"] != 0
        return there


def block(texts: Texts) -> Block:
    """What the call was given, as a block. Raises TypeError for what is no collection of texts."""
    if isinstance(texts, (str, bytes, bytearray, memoryview, dict)):
        raise TypeError(f"texts are a list of str or an Arrow column, not {_kind(texts)}; put a single text into a list: [text]")
    found = _from_protocol(texts)
    if found is not None:
        return found
    if not isinstance(texts, Iterable):
        raise TypeError(f"texts are a list of str or an Arrow column, not {_kind(texts)}")
    return _from_strings(list(texts))


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


# ---- lists of str ----


def _from_strings(strings: list[str]) -> Block:
    for at, text in enumerate(strings):
        if not isinstance(text, str):
            raise TypeError(f"texts[{at}] is {_kind(text)}, not str; leave it out or put a str in its place")
    try:
        encoded = [text.encode() for text in strings]
    except UnicodeEncodeError:
        raise _no_unicode(strings) from None
    whole = b"".join(encoded)
    texts = np.zeros(len(strings), TEXT)
    texts["size_bytes"] = np.fromiter(map(len, encoded), np.uintp, len(encoded))
    texts["at"][1:] = np.cumsum(texts["size_bytes"][:-1], dtype=np.uintp)
    texts["at"] += np.uintp(ctypes.cast(ctypes.c_char_p(whole), ctypes.c_void_p).value or 0)
    return Block(texts, whole)


def _no_unicode(strings: list[str]) -> DataError:
    for at, text in enumerate(strings):
        try:
            text.encode()
        except UnicodeEncodeError as why:
            return DataError(f"texts[{at}] has the lone surrogate U+{ord(text[why.start]):04X} at character {why.start}; replace it, "
                             "as text.encode('utf-8', 'replace').decode() does", status="E_DATA", row=at)
    raise AssertionError("every text is good UTF-8")


# ---- Arrow ----


class _Capsules:
    """The pointer of a PyCapsule."""

    _pointer = ctypes.pythonapi.PyCapsule_GetPointer
    _pointer.restype = ctypes.c_void_p
    _pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]

    @classmethod
    def pointer(cls, capsule: object, name: bytes) -> int:
        """Raises ValueError for something else than a capsule of that name."""
        at: int = cls._pointer(capsule, name)
        return at


class _Column:
    """A schema and its chunks, moved out of their capsules; released with the column."""

    def __init__(self) -> None:
        self.schema = _native.ArrowSchema()
        self.chunks: list[_native.ArrowArray] = []

    def __del__(self) -> None:
        for chunk in self.chunks:
            _release(chunk)
        _release(self.schema)


def _release(structure: Any) -> None:
    if structure.release:
        structure.release(ctypes.byref(structure))


def _move(source: Any, target: Any) -> None:
    """The specification's move: the bytes go over, and the source counts as released."""
    ctypes.memmove(ctypes.byref(target), ctypes.byref(source), ctypes.sizeof(target))
    source.release = type(source.release)()


def _from_protocol(texts: object) -> Block | None:
    if isinstance(texts, ArrowStream):
        try:
            capsule = texts.__arrow_c_stream__()
        except ImportError:  # pandas without pyarrow: its rows can be walked all the same
            return None
        return _texts_of(_read_stream(capsule))
    if isinstance(texts, ArrowArray):
        return _texts_of(_read_array(*texts.__arrow_c_array__()))
    return None


def _read_array(schema_capsule: object, array_capsule: object) -> _Column:
    column = _Column()
    column.chunks.append(_native.ArrowArray())
    for capsule, name, target in ((schema_capsule, b"arrow_schema", column.schema), (array_capsule, b"arrow_array", column.chunks[0])):
        _move(type(target).from_address(_Capsules.pointer(capsule, name)), target)
    return column


def _read_stream(capsule: object) -> _Column:
    stream = _native.ArrowArrayStream.from_address(_Capsules.pointer(capsule, b"arrow_array_stream"))
    if not stream.release:
        raise UsageError("the Arrow stream was read before; take a new one from its column", status="E_USAGE")
    column = _Column()
    try:
        _stream_step(stream, stream.get_schema(ctypes.byref(stream), ctypes.byref(column.schema)))
        for chunk in _stream_chunks(stream):
            column.chunks.append(chunk)
    finally:
        _release(stream)
    return column


def _stream_chunks(stream: Any) -> Iterator[_native.ArrowArray]:
    while True:
        chunk = _native.ArrowArray()
        _stream_step(stream, stream.get_next(ctypes.byref(stream), ctypes.byref(chunk)))
        if not chunk.release:
            return
        yield chunk


def _stream_step(stream: Any, code: int) -> None:
    if code != 0:
        said = stream.get_last_error(ctypes.byref(stream)) or b"no reason was given"
        raise DataError(f"the Arrow stream failed with code {code}: {said.decode('utf-8', 'replace')}", status="E_DATA")


def _texts_of(column: _Column) -> Block:
    _refuse_tables(column.schema)
    lengths = [max(0, chunk.length) for chunk in column.chunks]
    texts = np.zeros(sum(lengths), TEXT)
    for chunk, begin in zip(column.chunks, itertools.accumulate(lengths, initial=0)):
        try:
            _native.call("finch_texts_from_arrow", ctypes.byref(column.schema), ctypes.byref(chunk),
                         texts.ctypes.data + begin * TEXT.itemsize)
        except DataError as why:
            if why.row is not None:
                why.row += begin
            raise
    return Block(texts, column)


def _refuse_tables(schema: Any) -> None:
    if schema.format == b"+s":
        names = [(schema.children[i].contents.name or b"").decode("utf-8", "replace") for i in range(schema.n_children)]
        raise UnsupportedError(f"this is a table with the columns {', '.join(names)}; give the one that holds the texts",
                               status="E_UNSUPPORTED")
