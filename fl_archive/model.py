"""A model file, opened: its tensors by name, whichever way it was saved."""

from pathlib import Path
from typing import BinaryIO

from fl_archive.contents import ModelFile, TensorSpec
from fl_archive.disk import map_file
from fl_archive.foreign import refuse
from fl_archive.formats import FORMATS

__all__ = ["ModelFile", "TensorSpec", "read_model"]


def read_model(path: Path | BinaryIO) -> ModelFile:
    """Open a file of one of the formats in `FORMATS`.

    Raises `NotAModel` for what is none of them, `Refused` for what they hold unsupported.
    """
    raw = map_file(path)
    for form in FORMATS.values():
        if form.is_one(raw):
            return form.read(raw)
    raise refuse(raw)
