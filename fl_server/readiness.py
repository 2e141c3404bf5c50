"""How a process tells its supervisor that it has started to work."""

import os
from contextlib import suppress

READY_PIPE = "FL_READY_PIPE"
"""The pipe to report to, and the name to report; unset without a supervisor."""


def report_ready() -> None:
    """Report to the supervisor, if there is one that still waits to hear it."""
    if pipe := os.environ.get(READY_PIPE):
        descriptor, name = pipe.split(":")
        with suppress(BrokenPipeError):  # all have reported, and the supervisor has closed the pipe
            os.write(int(descriptor), f"{name}\n".encode())
