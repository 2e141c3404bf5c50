"""A disk that is full, or stands still, for one kind of process of a server under test.

Python imports this as it starts, with this folder on its path. While the folder `FL_FAULTS`
holds a file `full-KIND`, writing to a model file fails half-way. A file `hold-KIND` is renamed
to `held-PID` by the first process that writes, which goes on once that is gone.
"""

import builtins
import errno
import io
import os
import sys
import time
from pathlib import Path

FAULTS = Path(os.environ.get("FL_FAULTS", "/nowhere"))
MODELS = Path(os.environ.get("FL_DATA_DIR", "/nowhere")) / "models"
KINDS = {"web", "rounds", "notify", "serving", "summaries", "beat"}

_open = io.open


class FaultyFile(io.FileIO):
    """A file on such a disk."""

    def write(self, data):
        kind = next((word for word in sys.orig_argv if word in KINDS), "web")  # gunicorn's
        stand_still(kind)
        if (FAULTS / f"full-{kind}").exists():
            content = memoryview(data).cast("B")
            super().write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def stand_still(kind):
    held = FAULTS / f"held-{os.getpid()}"
    try:
        (FAULTS / f"hold-{kind}").rename(held)
    except FileNotFoundError:
        return
    while held.exists():
        time.sleep(0.01)


def open_on_this_disk(file, mode="r", *args, **kwargs):
    """Do what open() does; writing to model files in bytes is what may fail."""
    is_written = "b" in mode and set(mode) & set("wax+")
    if not is_written or isinstance(file, int) or MODELS not in Path(os.fsdecode(file)).parents:
        return _open(file, mode, *args, **kwargs)
    raw = FaultyFile(file, mode.replace("b", ""), opener=kwargs.get("opener"))
    return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)


builtins.open = io.open = open_on_this_disk
