"""Files that are written for a download, kept for whoever comes again or goes on with a part.

They lie in SCRATCH_DIR under what says their bytes. All together they take no more than the
largest upload, and none stays for more than some minutes.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO
from weakref import WeakValueDictionary

from django.conf import settings

from fl_server_core.files import scratch_path

KEPT_SECONDS = 600
_PREFIX = "written-"
_TURNS: WeakValueDictionary[str, Lock] = WeakValueDictionary()
_FINDING = Lock()
"""Of this process' requests for the same file one writes it, the others wait. Each file has a lock
of its own, because what is written may be made of what is written."""


def open_written(tag: str, write: Callable[[Path], None]) -> BinaryIO:
    """Open the file of this tag, which stands for its bytes; written if it isn't kept."""
    path = Path(settings.SCRATCH_DIR) / f"{_PREFIX}{hashlib.sha256(tag.encode()).hexdigest()}"
    with _FINDING:
        turn = _TURNS.setdefault(tag, Lock())
    with turn:
        try:
            return path.open("rb")
        except FileNotFoundError:
            return _write(path, write)


def _write(path: Path, write: Callable[[Path], None]) -> BinaryIO:
    with scratch_path() as target:
        write(target)
        file = target.open("rb")  # whatever becomes of its name
        target.replace(path)
    _make_room()
    return file


def _make_room() -> None:
    """Remove what was written too long ago, and the oldest of what is too much."""
    room, oldest = settings.FL_MAX_UPLOAD_BYTES, time.time() - KEPT_SECONDS
    for written_at, size, path in sorted(_kept(), reverse=True):
        room -= size
        if room < 0 or written_at < oldest:
            path.unlink(missing_ok=True)


def _kept() -> list[tuple[float, int, Path]]:
    found = []
    for path in Path(settings.SCRATCH_DIR).glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process makes room too
            about = path.stat()
            found.append((about.st_mtime, about.st_size, path))
    return found
