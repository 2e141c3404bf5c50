"""What a worker asks of all its runners."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What a runner may take for a job, on which `FL_DEVICE`, and whether only caged."""

    memory_bytes: int
    seconds: int
    device: str
    cage_must_hold: bool
