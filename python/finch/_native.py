"""libfinch through ctypes, which lets go of the interpreter's lock for the time of every call."""
from __future__ import annotations

import ctypes
import os
import pathlib
from typing import Any

from ._errors import BY_STATUS, Error

HERE = pathlib.Path(__file__).resolve().parent

COMPUTES = ("auto", "f32", "bf16", "int8", "bf16x3")
OUTPUTS = ("probabilities", "logits")


class FinchError(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("row", ctypes.c_uint64), ("message", ctypes.c_char * 1000)]


class ModelInfo(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_size_t), ("architecture", ctypes.c_char_p), ("compute", ctypes.c_int),
                ("temperature", ctypes.c_float), ("n_classes", ctypes.c_size_t), ("max_tokens", ctypes.c_size_t),
                ("vocab_size", ctypes.c_size_t)]


class ScoreOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_size_t), ("n_threads", ctypes.c_size_t), ("max_tokens", ctypes.c_size_t),
                ("output", ctypes.c_int)]


class ArrowSchema(ctypes.Structure):
    pass


class ArrowArray(ctypes.Structure):
    pass


class ArrowArrayStream(ctypes.Structure):
    pass


SchemaRelease = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowSchema))
ArrayRelease = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowArray))
StreamRelease = ctypes.CFUNCTYPE(None, ctypes.POINTER(ArrowArrayStream))
StreamSchema = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ArrowArrayStream), ctypes.POINTER(ArrowSchema))
StreamNext = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ArrowArrayStream), ctypes.POINTER(ArrowArray))
StreamError = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(ArrowArrayStream))

ArrowSchema._fields_ = [
    ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_void_p), ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("children", ctypes.POINTER(ctypes.POINTER(ArrowSchema))),
    ("dictionary", ctypes.POINTER(ArrowSchema)), ("release", SchemaRelease), ("private_data", ctypes.c_void_p)]
ArrowArray._fields_ = [
    ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64), ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))), ("dictionary", ctypes.POINTER(ArrowArray)),
    ("release", ArrayRelease), ("private_data", ctypes.c_void_p)]
ArrowArrayStream._fields_ = [
    ("get_schema", StreamSchema), ("get_next", StreamNext), ("get_last_error", StreamError), ("release", StreamRelease),
    ("private_data", ctypes.c_void_p)]


def _library_path() -> str:
    """FINCH_LIBRARY, for whoever builds the library apart; else the one that the wheel carries; else the system's."""
    named = os.environ.get("FINCH_LIBRARY")
    if named:
        return named
    carried = HERE / "_lib" / "libfinch.so"
    return str(carried) if carried.exists() else "libfinch.so.0"


def _load() -> ctypes.CDLL:
    path = _library_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as why:
        raise ImportError(f"finch's library can not be loaded: {why}; install the wheel (pip install .), or name a built "
                          "libfinch.so in FINCH_LIBRARY") from why
    error, handle, size = ctypes.POINTER(FinchError), ctypes.c_void_p, ctypes.c_size_t
    options = ctypes.POINTER(ScoreOptions)
    for name, result, arguments in (
        ("finch_version", ctypes.c_char_p, []),
        ("finch_status_name", ctypes.c_char_p, [ctypes.c_int]),
        ("finch_status_retry", ctypes.c_bool, [ctypes.c_int]),
        ("finch_model_open", ctypes.c_int, [ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(handle), error]),
        ("finch_model_close", None, [handle]),
        ("finch_model_label", ctypes.c_char_p, [handle, size]),
        ("finch_model_get_info", ctypes.c_int, [handle, ctypes.POINTER(ModelInfo), error]),
        ("finch_score", ctypes.c_int, [handle, handle, size, options, handle, handle, error]),
        ("finch_token_offsets", ctypes.c_int, [handle, handle, size, options, handle, handle, error]),
        ("finch_tokenize", ctypes.c_int, [handle, handle, size, options, handle, handle, error]),
        ("finch_texts_from_arrow", ctypes.c_int, [ctypes.POINTER(ArrowSchema), ctypes.POINTER(ArrowArray), handle, error]),
    ):
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{path} has no {name}: it is of another version than this package; install both from one source") from None
        function.restype = result
        function.argtypes = arguments
    return library


LIBRARY = _load()


def check(status: int, error: FinchError) -> None:
    """Raises what a status other than FINCH_OK stands for."""
    if status == 0:
        return
    name = LIBRARY.finch_status_name(status).decode()
    message = error.message.decode("utf-8", "replace")
    row = error.row - 1 if error.row > 0 else None
    raise BY_STATUS.get(name, Error)(message, status=name, row=row, retry=LIBRARY.finch_status_retry(status))


def call(name: str, *arguments: Any) -> None:
    """A function of the library that fills a finch_error."""
    error = FinchError()
    check(getattr(LIBRARY, name)(*arguments, ctypes.byref(error)), error)


def version() -> str:
    text: bytes = LIBRARY.finch_version()
    return text.decode()
