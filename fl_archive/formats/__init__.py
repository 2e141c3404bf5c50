"""The formats in which numbers come in, one file each; `FORMATS` has them by name.

None of them imports or runs anything of what it reads. What is none of these is refused by
`fl_archive.foreign`.
"""

from fl_archive.formats.base import Format
from fl_archive.formats.safetensors import SAFETENSORS
from fl_archive.formats.torch import TORCH

FORMATS: dict[str, Format] = {"torch": TORCH, "safetensors": SAFETENSORS}
"""In the order in which a file is tried."""

__all__ = ["FORMATS", "Format"]
