"""A log file to which several processes append lines."""

import logging
import os

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class Appending(logging.Handler):
    """Writes each line by one call, at the file's end, so that no two lines get mixed.

    The file is opened for each, so that it may be moved away at any time, and others can't read it.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; if that fails, say so on stderr, as logging does."""
        try:
            line = self.format(record).encode() + b"\n"
            descriptor = os.open(self.path, FLAGS, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError:
            self.handleError(record)
