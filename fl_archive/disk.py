"""Mapping a file to read it, and writing one that is whole or absent."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from fl_archive.errors import NotAModel

Bytes = npt.NDArray[np.uint8]
"""One-dimensional bytes: usually a window into a mapped file."""

WINDOW = 1 << 20
"""Bytes looked at in one go where a tensor is checked or copied."""

SYNC_FILE_RANGE_WRITE = 2  # of linux/fs.h: begin, don't wait


def map_file(path: Path | BinaryIO) -> Bytes:
    """The file's bytes, read-only; mapped for as long as a view of them lives."""
    try:
        return np.memmap(path, mode="r").view(np.ndarray)
    except ValueError as error:
        raise NotAModel("The file is empty.") from error


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is on disk when the block is left, and gone if it is left by an error."""
    try:
        with path.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def begin_sync(file: BinaryIO) -> None:
    """Have Linux begin to write the file to the disk, so that `fsync` has less to wait for."""
    file.flush()
    if sys.platform == "linux":
        start, to_the_end = ctypes.c_int64(0), ctypes.c_int64(0)
        libc = ctypes.CDLL(None)
        libc.sync_file_range(file.fileno(), start, to_the_end, SYNC_FILE_RANGE_WRITE)


def windows(raw: Bytes, itemsize: int) -> Iterator[Bytes]:
    """The bytes in pieces of about a megabyte, each of whole elements."""
    step = WINDOW - WINDOW % itemsize
    for start in range(0, raw.size, step):
        yield raw[start : start + step]
