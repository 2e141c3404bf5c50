"""Files that are sent to clients: a model's own, or for an update the actor's with its numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from django.db.models.fields.files import FieldFile

from fl_archive.errors import Refused
from fl_archive.model import read_model
from fl_archive.narrowed import write_narrowed
from fl_archive.part import Part
from fl_archive.safetensors_file import TensorFile
from fl_archive.writer import with_rest, write_model
from fl_server_core.exceptions import InvalidRequest, NotFound
from fl_server_core.files import local_path
from fl_server_core.models import Checkpoint, Model
from fl_server_core.models.model import ModelKind
from fl_server_core.written import open_written


@contextmanager
def model_path(model: Model) -> Iterator[Path]:
    """Yield the path of a model's stored file.

    Raises InvalidRequest for a model that has none, and NotFound when the file is gone.
    """
    if not model.file:
        raise InvalidRequest(f"Model {model.pk} has no file.")
    with _path(model, model.file) as path:
        yield path


def open_model(model: Model) -> BinaryIO:
    """Open what is sent for a model: an archive that torch can load.

    For an update that is written, the same bytes from the same rows.
    """
    if model.kind == ModelKind.LOCAL:
        return _open_update(model)
    with model_path(model) as path:
        return path.open("rb")


def open_tensors(model: Model, part: Part, dtype: str) -> BinaryIO:
    """Open a part of a model as safetensors, in fewer bits where `dtype` says so.

    Of an update that is the part that was exchanged. Raises InvalidRequest where names clash.
    """

    def write(target: Path) -> None:
        with model_path(model) as path, read_model(path) as whole:
            sent = whole if model.kind == ModelKind.LOCAL else part.of(whole)
            try:
                write_narrowed(sent, target, dtype)
            except Refused as error:
                raise InvalidRequest(f"Model {model.pk} can't be sent so. {error}") from error

    return open_written(f"{model_tag(model)} {part} {dtype}", write)


def open_state(model: Model) -> BinaryIO:
    """Open all of a model's tensors as safetensors, also where an update is a part of them."""

    def write(target: Path) -> None:
        with open_model(model) as file, read_model(file) as whole:
            write_narrowed(whole, target)

    return open_written(f"{model_tag(model)} state", write)


def open_preprocessing(model: Model) -> BinaryIO:
    """Open a model's preprocessing, which there must be."""
    with _path(model, model.preprocessing_file) as path:
        return path.open("rb")


def open_checkpoint(checkpoint: Checkpoint) -> BinaryIO:
    """Open an earlier version of a model. Raises NotFound when it isn't kept any more."""
    if not checkpoint.file:
        raise NotFound(f"Checkpoint {checkpoint.pk} is no longer stored.")
    with _path(checkpoint.model, checkpoint.file) as path:
        return path.open("rb")


def model_size(model: Model) -> int:
    """Return the size of what `open_model` opens: an update is written over its model's copy."""
    return model.global_model.size if model.file else 0


def model_tag(model: Model) -> str:
    """Return a text that changes whenever the bytes of `open_model` do."""
    base = f"-{model.global_model.sha256}" if model.kind == ModelKind.LOCAL else ""
    return model.sha256 + base


@contextmanager
def _path(model: Model, field: FieldFile) -> Iterator[Path]:
    """Yield a file's path; the file may have been replaced since the model's row was read."""
    try:
        with local_path(field) as path:
            yield path
    except FileNotFoundError as error:
        raise NotFound(f"The file of model {model.pk} is gone; try again.") from error


def _open_update(update: Model) -> BinaryIO:
    with model_path(update) as tensors, model_path(update.global_model) as template:

        def write(target: Path) -> None:
            with TensorFile(tensors) as file, read_model(template) as whole:
                part = ((name, file.raw(name)) for name in file.tensors)
                write_model(template, target, with_rest(whole, part))

        return open_written(model_tag(update), write)
