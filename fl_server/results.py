"""Results of tasks as files, for those few whose caller waits."""

import os
import uuid
from contextlib import suppress
from typing import Any

from celery.backends.filesystem import FilesystemBackend


class FileBackend(FilesystemBackend):
    """Celery's backend of files, for callers who look while a result is written.

    Celery writes a result in place, and its readers fail over half of one; and it fails to
    delete one that isn't there, as that of an expired task.
    """

    def delete(self, key: bytes) -> None:  # type: ignore[override]  # as below
        """Delete the value, if there is one."""
        with suppress(FileNotFoundError):
            super().delete(key)  # type: ignore[arg-type]

    def set(self, key: bytes, value: Any) -> None:  # type: ignore[override]  # stubs say str
        """Store the value under a name of its own and rename it."""
        scratch = f".writing-{uuid.uuid4().hex}".encode()
        super().set(scratch, value)  # type: ignore[arg-type]  # as above
        os.replace(self._filename(scratch), self._filename(key))  # type: ignore[attr-defined]
