"""What turns uploaded files into rows.

The bytes that came in are never kept: admission writes a fresh file of what it knows. All
files of a request are admitted before the first is stored, so a refusal leaves nothing.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import transaction

from fl_server_core import quotas
from fl_server_core.archive.admission import admit_model
from fl_server_core.archive.admitted import parse_extra
from fl_server_core.archive.errors import ArchiveError
from fl_server_core.archive.model import read_model
from fl_server_core.archive.update import admit_moments, admit_update
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.files import StoredFile, let_go, named_or_gone, scratch_path, store
from fl_server_core.handouts import model_path
from fl_server_core.models import MeanModel, Model

logger = logging.getLogger(__name__)

MODEL, PREPROCESSING = "model", "preprocessing"


def create_model(
    *,
    file: TemporaryUploadedFile,
    preprocessing: TemporaryUploadedFile | None = None,
    **fields: Any,
) -> Model:
    """Store a global model of the file, with its preprocessing."""
    quotas.check_models(fields["owner"])
    quotas.check_room(
        fields["owner"], sum(part.size or 0 for part in (file, preprocessing) if part)
    )
    with ExitStack() as admitted:
        paths = [admitted.enter_context(_admitted(file, MODEL))]
        if preprocessing:
            paths.append(admitted.enter_context(_admitted(preprocessing, PREPROCESSING)))
        stored = [store(path) for path in paths]
    model = Model(**fields)
    _set_file(model, stored[0])
    for preprocessing_file in stored[1:]:
        _set_preprocessing(model, preprocessing_file)
    model.save()
    return model


def create_mean_model(*, members: Iterable[Model], **fields: Any) -> Model:
    """Store a model that is the mean of others."""
    quotas.check_models(fields["owner"])
    with transaction.atomic():
        model: Model = MeanModel.objects.create(**fields)
        model.members.set(members)
    return model


def replace_preprocessing(model: Model, file: TemporaryUploadedFile) -> None:
    """Give a model this preprocessing, in place of an earlier one.

    Raises Model.DoesNotExist when the model is gone.
    """
    with _admitted(file, PREPROCESSING) as path:
        stored = store(path)
    with named_or_gone(stored), transaction.atomic():
        row = Model.objects.select_for_update().get(pk=model.pk)
        let_go([row.preprocessing_file.name])
        _set_preprocessing(row, stored)
        row.save(update_fields=["preprocessing_file", "preprocessing_sha256"])


def store_update(model: Model, file: TemporaryUploadedFile) -> StoredFile:
    """Keep the numbers of a participant's update; they must fit the global model's."""
    with model_path(model) as template, scratch_path() as target:
        with _explained(MODEL), read_model(template) as reference:
            kept = admit_update(Path(file.temporary_file_path()), reference, target)
        if kept:
            logger.info("model %s: an update lacks buffers, which stay: %.500s", model.pk, kept)
        return store(target)


def store_moments(
    model: Model, first: TemporaryUploadedFile, second: TemporaryUploadedFile
) -> tuple[StoredFile, StoredFile]:
    """Keep a participant's SWAG moments; both must fit the global model's parameters."""
    with (
        model_path(model) as template,
        read_model(template) as reference,
        scratch_path() as mean,
        scratch_path() as square,
    ):
        with _explained("first moment"):
            admit_moments(Path(first.temporary_file_path()), reference, mean)
        with _explained("second moment"):
            admit_moments(Path(second.temporary_file_path()), reference, square)
        return store(mean), store(square)


@contextmanager
def _admitted(file: TemporaryUploadedFile, kind: str) -> Iterator[Path]:
    """Yield the path of what is admitted of the file."""
    with scratch_path() as target:
        with _explained(kind):
            extra = parse_extra(settings.FL_MODEL_CLASSES)
            admit_model(Path(file.temporary_file_path()), target, extra_globals=extra)
        yield target


@contextmanager
def _explained(kind: str) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        # Of a preprocessing clients know the whole answer; and the advice is on models.
        advice = [error.advice] if error.advice and kind != PREPROCESSING else []
        raise InvalidRequest(f"Invalid {kind} file: {error}", *advice) from error


def _set_file(model: Model, stored: StoredFile) -> None:
    model.file, model.sha256, model.size = stored.name, stored.sha256, stored.size


def _set_preprocessing(model: Model, stored: StoredFile) -> None:
    model.preprocessing_file, model.preprocessing_sha256 = stored.name, stored.sha256
