"""Storing uploaded files: models, preprocessing, updates and moments.

Uploaded bytes are never kept: admission writes a fresh file of what it has checked. All
files of a request are admitted before the first is stored, so a refusal leaves nothing.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import transaction

from fl_archive.admission import admit_model, admit_module
from fl_archive.admitted import parse_extra
from fl_archive.encoded import Encoding, Wire, decode_update, is_encoded
from fl_archive.errors import ArchiveError, HoldsCode
from fl_archive.model import ModelFile, read_model
from fl_archive.serving import check_serves
from fl_archive.update import admit_moments, admit_update
from fl_server_core import quotas
from fl_server_core.audit import record_act
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.files import StoredFile, let_go, named_or_gone, scratch_path, store
from fl_server_core.model_code import check_may_hand_out_code, code_refused, may_hand_out_code
from fl_server_core.models import MeanModel, Model, User
from fl_server_core.models.act import ActCode
from fl_server_core.options import ExchangeOptions
from fl_server_core.outgoing import model_path

logger = logging.getLogger(__name__)

MODEL, PREPROCESSING, SERVING = "model", "preprocessing", "serving"


class SentFile(Protocol):
    """A file that a request hands in."""

    @property
    def added(self) -> int:
        """Bytes that don't count yet as stored by its user."""

    def held(self) -> AbstractContextManager[Path]:
        """Yield its path, which is there until the end of the block."""

    def spend(self) -> None:
        """Let it go, in the transaction that names what was made of it."""


@dataclass(frozen=True)
class PostedFile:
    """One that is in the request's body, and goes with it."""

    file: TemporaryUploadedFile

    @property
    def added(self) -> int:
        """Return all its bytes."""
        return self.file.size or 0

    @contextmanager
    def held(self) -> Iterator[Path]:
        """Yield its path."""
        yield Path(self.file.temporary_file_path())

    def spend(self) -> None:
        """Do nothing."""


def create_model(
    *,
    owner: User,
    file: SentFile,
    preprocessing: SentFile | None = None,
    **fields: Any,
) -> Model:
    """Store a global model of the file, with its preprocessing.

    Raises PermissionDenied for code of an owner who may not hand out any.
    """
    quotas.check_models(owner)
    sent = [part for part in (file, preprocessing) if part]
    quotas.check_room(owner, sum(part.added for part in sent))
    with ExitStack() as admitted:
        admit = partial(admit_model, code=may_hand_out_code(owner))
        path, archive = admitted.enter_context(_admitted(file, MODEL, admit))
        paths = [path]
        if preprocessing:
            check_may_hand_out_code(owner)
            extra = _admitted(preprocessing, PREPROCESSING, admit_module)
            paths.append(admitted.enter_context(extra)[0])
        stored = [store(path) for path in paths]
        model = Model(owner=owner, weights_only=archive.weights_only, **fields)
    _set_file(model, stored[0])
    for preprocessing_file in stored[1:]:
        _set_preprocessing(model, preprocessing_file)
    with named_or_gone(*stored), transaction.atomic():
        model.save()
        record_act(ActCode.MODEL_UPLOADED, model, name=model.name, sha256=model.sha256)
        for part in sent:
            part.spend()
    return model


def create_mean_model(*, members: Iterable[Model], **fields: Any) -> Model:
    """Store a model that is the mean of others."""
    quotas.check_models(fields["owner"])
    with transaction.atomic():
        model: Model = MeanModel.objects.create(**fields)
        model.members.set(members)
        record_act(ActCode.MODEL_UPLOADED, model, name=model.name, kind=model.kind)
    return model


def replace_preprocessing(model: Model, file: SentFile) -> None:
    """Give a model this preprocessing, in place of an earlier one.

    Raises PermissionDenied if its owner may not hand out code, and Model.DoesNotExist when the
    model is gone.
    """
    check_may_hand_out_code(model.owner)
    quotas.check_room(model.owner, file.added)
    with _admitted(file, PREPROCESSING, admit_module) as (path, _):
        stored = store(path)
    with named_or_gone(stored), transaction.atomic():
        row = Model.objects.select_for_update().get(pk=model.pk)
        let_go([row.preprocessing_file.name])
        _set_preprocessing(row, stored)
        names = ("preprocessing_file", "preprocessing_sha256", "preprocessing_size")
        row.save(update_fields=names)
        record_act(ActCode.MODEL_PREPROCESSING, row, sha256=stored.sha256)
        file.spend()


def replace_serving(model: Model, file: SentFile) -> None:
    """Give weights alone this module to predict with, in place of an earlier one.

    It stays on the server. Raises InvalidRequest unless the weights are a state of it,
    PermissionDenied if the model's owner may not upload code, and Model.DoesNotExist when the model
    is gone.
    """
    check_may_hand_out_code(model.owner)
    quotas.check_room(model.owner, file.added)
    if not model.weights_only:
        raise InvalidRequest(f"Model {model.pk} brings its own code: it predicts with that.")
    with _admitted(file, SERVING, admit_module) as (path, module), model_path(model) as template:
        with _explained(SERVING), read_model(template) as weights:
            check_serves(module, weights)
        stored = store(path)
    with named_or_gone(stored), transaction.atomic():
        row = Model.objects.select_for_update().get(pk=model.pk)
        let_go([row.serving_file.name])
        row.serving_file, row.serving_size = stored.name, stored.size
        row.save(update_fields=["serving_file", "serving_size"])
        record_act(ActCode.MODEL_SERVING, row, sha256=stored.sha256)
        file.spend()


def store_update(
    model: Model,
    file: SentFile,
    owner: User,
    exchange: ExchangeOptions,
    encoding: Encoding = Encoding.STATE,
) -> StoredFile:
    """Keep the numbers of a participant's update; they must fit the global model's."""
    wire = Wire(encoding, exchange.dtype or "")
    with (
        model_path(model) as template,
        file.held() as source,
        scratch_path() as target,
        scratch_path() as decoded,
    ):
        with _explained(MODEL), read_model(template) as whole:
            if is_encoded(source, wire):  # it becomes larger than what came
                quotas.check_room(owner, exchange.part.of(whole).size)
                decode_update(source, whole, decoded, wire, exchange.part)
                source = decoded
            kept = admit_update(source, whole, target, exchange.part)
        if kept:
            logger.info("model %s: an update lacks buffers, which stay: %.500s", model.pk, kept)
        return store(target)


def store_moments(model: Model, first: SentFile, second: SentFile) -> tuple[StoredFile, StoredFile]:
    """Keep a participant's SWAG moments; both must fit the global model's parameters."""
    with (
        model_path(model) as template,
        read_model(template) as reference,
        scratch_path() as mean,
        scratch_path() as square,
    ):
        with _explained("first moment"), first.held() as source:
            admit_moments(source, reference, mean)
        with _explained("second moment"), second.held() as source:
            admit_moments(source, reference, square)
        return store(mean), store(square)


@contextmanager
def _admitted(
    file: SentFile, kind: str, admit: Callable[..., ModelFile]
) -> Iterator[tuple[Path, ModelFile]]:
    """Yield what is admitted of the file: its path, and it opened."""
    with scratch_path() as target:
        with _explained(kind), file.held() as source:
            extra = parse_extra(settings.FL_MODEL_CLASSES)
            archive = admit(source, target, extra_globals=extra)
        with archive:
            yield target, archive


@contextmanager
def _explained(kind: str) -> Iterator[None]:
    try:
        yield
    except HoldsCode as error:
        raise code_refused() from error
    except ArchiveError as error:
        # Clients expect this one sentence of a preprocessing, and the advice is about models.
        advice = [error.advice] if error.advice and kind != PREPROCESSING else []
        raise InvalidRequest(f"Invalid {kind} file: {error}", *advice) from error


def _set_file(model: Model, stored: StoredFile) -> None:
    model.file, model.sha256, model.size = stored.name, stored.sha256, stored.size


def _set_preprocessing(model: Model, stored: StoredFile) -> None:
    model.preprocessing_file, model.preprocessing_sha256 = stored.name, stored.sha256
    model.preprocessing_size = stored.size
