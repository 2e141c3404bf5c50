"""Writing uploaded files to the disk."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.files.uploadhandler import TemporaryFileUploadHandler


class UploadHandler(TemporaryFileUploadHandler):
    """Streams a file to the disk; removes it at once if it can't be written whole.

    Django leaves that to the garbage collector, so that a full disk would stay full for a while.
    """

    chunk_size = 1 << 18  # of what the parser looks through at once; each takes some copies

    def discard(self) -> None:
        """Remove the file that came last."""
        if file := getattr(self, "file", None):
            with suppress(OSError):  # what is still to be written may find no room either
                file.close()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # noqa: D102
        with self._whole_or_gone():
            super().receive_data_chunk(raw_data, start)

    def file_complete(self, file_size: int) -> Any:  # noqa: D102
        with self._whole_or_gone():
            return super().file_complete(file_size)

    @contextmanager
    def _whole_or_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.discard()
            raise
