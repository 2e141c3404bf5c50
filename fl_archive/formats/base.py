"""What a format is: how a file of it is known, and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass

from fl_archive.contents import ModelFile
from fl_archive.disk import Bytes


@dataclass(frozen=True)
class Format:
    """One way of saving tensors by name."""

    is_one: Callable[[Bytes], bool]
    """Whether a file is of this format, by its first bytes: there may be none."""

    read: Callable[[Bytes], ModelFile]
    """Read its bytes, which are mapped; raise `NotAModel` or `Refused`, and nothing else.

    The sender wrote every byte. So what it takes in memory and time is bounded, sizes in the file
    are held against the file's before they are believed, and nothing of it is imported or run.
    """
