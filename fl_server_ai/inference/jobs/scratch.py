"""The one file that a runner may write: in memory, without a name.

A runner can make none, so its own is made while it still can. What is taken there counts by the
limit of a file's size.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_made: list[int] = []
"""Its descriptor."""


def make_scratch() -> None:
    """Make this process's file; let libraries that ask for a folder for files find one named."""
    if hasattr(os, "memfd_create"):
        _made[:] = [os.memfd_create("scratch")]
    else:  # not Linux, where no runner is caged
        with tempfile.TemporaryFile() as file:
            _made[:] = [os.dup(file.fileno())]
    tempfile.gettempdir()  # tried once, and remembered


@contextmanager
def scratch_copy(source: BinaryIO) -> Iterator[Path]:
    """Yield a path that reads as the source does; one at a time."""
    if not _made:
        make_scratch()
    [descriptor] = _made
    source.seek(0)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        try:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            yield Path(f"/dev/fd/{descriptor}")
        finally:
            file.seek(0)
            file.truncate()
