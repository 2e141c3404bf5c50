"""Request bodies that come compressed."""

import gzip
import io
import zlib
from typing import IO

from django.core.exceptions import BadRequest, RequestDataTooBig


class Inflated(io.IOBase):
    """A gzip stream's content, decoded as it is read, up to `limit` bytes of it.

    Raises BadRequest for what is no gzip, or ends too early, and RequestDataTooBig beyond the
    limit, because a few bytes could inflate to more than memory holds.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._gzip = gzip.GzipFile(fileobj=stream, mode="rb")
        self._limit = limit

    def read(self, size: int = -1, /) -> bytes:  # noqa: D102
        wanted = self._limit + 1 if size is None or size < 0 else min(size, self._limit + 1)
        try:
            data = self._gzip.read(wanted)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise BadRequest("The body is no whole gzip stream.") from error
        self._limit -= len(data)
        if self._limit < 0:
            raise RequestDataTooBig("The request's body is too large.")
        return data
