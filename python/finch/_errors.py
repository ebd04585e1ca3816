"""What the library's statuses are in Python: each with the row it is about, and also an exception that Python has for it."""
from __future__ import annotations


class Error(Exception):
    """A failure of the library: what, where and the remedy are its text.

    Attributes:
        status: the status' name in ``finch.h``, such as ``"E_DATA"``.
        row: which text of the input it is about, counted from 0; ``None`` where it is about none.
        retry: whether the same call may work later.
    """

    status: str
    row: int | None
    retry: bool

    def __init__(self, message: str, *, status: str = "E_FAILED", row: int | None = None, retry: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.row = row
        self.retry = retry


class UsageError(Error, ValueError):
    """The call is not possible as written."""


class DataError(Error, ValueError):
    """An input or a file is malformed."""


class UnsupportedError(Error, ValueError):
    """An input or a file is well formed, but of a kind that finch does not take."""


class NotFoundError(Error, FileNotFoundError):
    """No such file or model."""


class FileError(Error, OSError):
    """Reading failed."""


class OutOfMemoryError(Error, MemoryError):
    """There is not enough memory."""


BY_STATUS: dict[str, type[Error]] = {
    "E_USAGE": UsageError,
    "E_DATA": DataError,
    "E_UNSUPPORTED": UnsupportedError,
    "E_NOT_FOUND": NotFoundError,
    "E_IO": FileError,
    "E_MEMORY": OutOfMemoryError,
}
