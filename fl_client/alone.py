"""Being the only process here that is this participant: two would write the same files."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with this folder; a process that dies leaves it.

    Where there are no such locks, on Windows and some network drives, nothing is waited for.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / "lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            logger.warning("Another process here is this client; this one waits for its end.")
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            logger.info("Whether another process is this client can't be told: %s", error)
        yield
