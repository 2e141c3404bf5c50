"""What a worker asks of all its runners."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What a runner may take for a job, on which `FL_DEVICE`, and whether only caged.

    `methods` are the paths of the functions that may be asked for: a caged process can import
    nothing, so they are before.
    """

    memory_bytes: int
    seconds: int
    device: str
    cage_must_hold: bool
    methods: Sequence[str] = ()
