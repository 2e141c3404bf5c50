"""Results of tasks as files, for the few tasks whose caller waits for them."""

import os
import uuid
from contextlib import suppress
from typing import Any

from celery.backends.filesystem import FilesystemBackend


class FileBackend(FilesystemBackend):
    """Celery's backend of files, made safe for callers that read while a result is written.

    Celery writes a result in place, so that a reader may find half of one and fail. It also fails
    to delete a result that isn't there, such as that of an expired task.
    """

    def delete(self, key: bytes) -> None:  # type: ignore[override]  # as below
        """Delete the value, if there is one."""
        with suppress(FileNotFoundError):
            super().delete(key)  # type: ignore[arg-type]

    def set(self, key: bytes, value: Any) -> None:  # type: ignore[override]  # stubs say str
        """Store the value under another name and rename it, so that it is whole when it appears."""
        scratch = f".writing-{uuid.uuid4().hex}".encode()
        super().set(scratch, value)  # type: ignore[arg-type]  # as above
        os.replace(self._filename(scratch), self._filename(key))  # type: ignore[attr-defined]
