"""How a process tells its supervisor that it does its work from now on."""

import os
from contextlib import suppress

READY_PIPE = "FL_READY_PIPE"
"""Names where it reports that: a file descriptor and what it is called; unset where nobody asks."""


def report_ready() -> None:
    """Report to the supervisor, if there is one that still waits to hear it."""
    if pipe := os.environ.get(READY_PIPE):
        descriptor, name = pipe.split(":")
        with suppress(BrokenPipeError):  # it has heard of all, and listens no longer
            os.write(int(descriptor), f"{name}\n".encode())
