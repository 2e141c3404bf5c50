"""Request bodies that come compressed, and answers that go so."""

import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from backports import zstd
from django.core.exceptions import BadRequest, RequestDataTooBig

ZSTD_WINDOW = 23
"""Eight megabytes, as a power of two: what a decoder has to have (RFC 9659)."""


@dataclass(frozen=True)
class Encoding:
    """A content coding: how it is decoded, what is raised where that can't be, how it is made."""

    name: str
    decode: Callable[[IO[bytes]], io.BufferedIOBase]
    errors: tuple[type[Exception], ...]
    encode: Callable[[IO[bytes]], io.BufferedIOBase]


def _gunzip(stream: IO[bytes]) -> io.BufferedIOBase:
    return gzip.GzipFile(fileobj=stream, mode="rb")


def _unzstd(stream: IO[bytes]) -> io.BufferedIOBase:
    limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW}
    return zstd.ZstdFile(stream, options=limits)


def _gzip(stream: IO[bytes]) -> io.BufferedIOBase:
    """Quickly, and to the same bytes each time."""
    return gzip.GzipFile("", fileobj=stream, mode="wb", compresslevel=1, mtime=0)


def _zstd(stream: IO[bytes]) -> io.BufferedIOBase:
    return zstd.ZstdFile(stream, "wb")


GZIP = Encoding("gzip", _gunzip, (gzip.BadGzipFile, EOFError, zlib.error), _gzip)
ZSTD = Encoding("zstd", _unzstd, (zstd.ZstdError, EOFError), _zstd)
ENCODINGS = {"zstd": ZSTD, "gzip": GZIP, "x-gzip": GZIP}
"""By the names that requests use; the better ones first."""


def accepted(header: str) -> Encoding | None:
    """Return the best that an `Accept-Encoding` allows; None for the bytes as they are."""
    parts = [part.replace(" ", "").lower().partition(";q=") for part in header.split(",")]
    names = {name for name, _, weight in parts if weight.strip("0.") or not weight}
    return next((encoding for name, encoding in ENCODINGS.items() if name in names), None)


class Inflated(io.IOBase):
    """A compressed stream's content, decoded as it is read, up to `limit` bytes of it.

    Raises BadRequest for what is in no such encoding, or ends too early, and RequestDataTooBig
    beyond the limit, because a few bytes could inflate to more than memory holds.
    """

    def __init__(self, stream: IO[bytes], encoding: Encoding, limit: int) -> None:
        self._encoding = encoding
        self._content = encoding.decode(stream)
        self._limit = limit

    def read(self, size: int = -1, /) -> bytes:  # noqa: D102
        wanted = self._limit + 1 if size is None or size < 0 else min(size, self._limit + 1)
        try:
            data = self._content.read(wanted)
        except self._encoding.errors as error:
            raise BadRequest(f"The body is no whole {self._encoding.name} stream.") from error
        self._limit -= len(data)
        if self._limit < 0:
            raise RequestDataTooBig("The request's body is too large.")
        return data
