"""What a serving worker does: files to a runner, a result to the storage."""

import json
import logging
import time
from contextlib import ExitStack
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings

from fl_server_ai.failures import CannotLoad, JobRefused, RunnerDied, TooSlow
from fl_server_ai.inference.choice import Choice, choose
from fl_server_ai.inference.protocol import Load, Pack, Predict, Summarise
from fl_server_ai.inference.runner.launcher import Launcher
from fl_server_ai.inference.runner.pool import Pool, Runner
from fl_server_ai.inference.terms import Terms
from fl_server_ai.uncertainty.registry import METHODS
from fl_server_core.exceptions import InvalidRequest, NotFound
from fl_server_core.files import local_path, scratch_folder, store, stored_path
from fl_server_core.models import Model
from fl_server_core.models.model import ModelKind
from fl_server_core.outgoing import open_state
from fl_server_core.places import Places
from fl_server_core.spans import span

logger = logging.getLogger(__name__)

TERMS = Terms(
    memory_bytes=settings.FL_RUNNER_MEMORY_BYTES,
    seconds=settings.FL_RUNNER_SECONDS,
    device=settings.FL_DEVICE,
    cage_must_hold=settings.FL_CAGE == "require",
    methods=[method.function for method in METHODS.values()],
)
LAUNCHER = Launcher(TERMS, settings.FL_RUNNERS_SOCKET)
RUNNERS = Pool(LAUNCHER, settings.FL_RUNNERS)
"""This process's; none is started before it is needed."""

SUMMARISERS = Pool(LAUNCHER, idle=0)
"""No model is summarised twice, so none of these stays."""

TURNS = Places(4)
"""Predictions under way at once in this process."""

MAX_STATS = 16 << 20
"""Bytes; a layer takes some 500."""

PACKER = "packer"
"""The key of the runner that loads no model."""


def predict(model_id: UUID, input_name: str, *, is_json: bool, form: str) -> str:
    """Predict for a stored input; return the name under which the answer in this form is stored.

    Raises a `Failure`.
    """
    model = Model.objects.select_related("base_model").filter(pk=model_id).first()
    if model is None:
        raise JobRefused("The model was removed meanwhile.")
    try:
        return _predict(choose(model), input_name, is_json=is_json, form=form)
    except InvalidRequest as error:
        raise JobRefused(str(error)) from error
    except (
        FileNotFoundError,
        NotFound,
    ) as error:  # the model has moved on, or nobody waits any more
        raise JobRefused("A file is gone; try again.") from error
    except TooSlow as error:
        seconds = settings.FL_RUNNER_SECONDS
        raise TooSlow(f"The model took more than {seconds} seconds.") from error


def _predict(choice: Choice, input_name: str, *, is_json: bool, form: str) -> str:
    with span("inference", method=choice.method.function), scratch_folder() as folder:
        result, answer = folder / "result", folder / "answer"
        with (
            RUNNERS.runner(choice.key) as runner,
            stored_path(input_name) as path,
            path.open("rb") as source,
            result.open("wb") as target,
        ):
            deadline = time.monotonic() + settings.FL_RUNNER_SECONDS  # now that there is a runner
            _load(runner, choice, deadline)
            job = Predict(
                method=choice.method.function,
                samples=choice.samples,
                softmax=choice.softmax,
                input=source,
                is_json=is_json,
                input_shape=choice.input_shape,
                max_batch=settings.FL_MAX_INFERENCE_BATCH,
            )
            runner.do(job, deadline, target)
        with (
            RUNNERS.runner(PACKER) as packer,
            result.open("rb") as source,
            answer.open("wb") as target,
        ):
            packer.do(Pack(source, form), deadline, target)
        return store(answer).name


def _load(runner: Runner, choice: Choice, deadline: float) -> None:
    """Have the runner load what it needs, unless it has done so for an earlier request."""
    if runner.used:
        return
    with ExitStack() as stack:
        opened: dict[str, BinaryIO] = {}

        def file_of(field: Any) -> BinaryIO:
            if field.name not in opened:
                path = stack.enter_context(local_path(field))
                opened[field.name] = stack.enter_context(path.open("rb"))
            return opened[field.name]

        def member_of(model: Model) -> tuple[BinaryIO, BinaryIO | None]:
            described = model.global_model
            if described.weights_only:
                numbers = stack.enter_context(open_state(model))
                return file_of(described.serving_file), numbers
            is_update = model.kind == ModelKind.LOCAL
            return file_of(described.file), file_of(model.file) if is_update else None

        job = Load(
            members=[member_of(member) for member in choice.members],
            moments=[file_of(moment) for moment in choice.moments],
            preprocessing=file_of(choice.preprocessing) if choice.preprocessing else None,
            device=settings.FL_DEVICE,
        )
        runner.do(job, deadline)


def summarise(model: Model, input_shape: list[int | None]) -> dict[str, Any] | None:
    """Return torchinfo's summary of a model with a file; None if there can't be one."""
    try:
        with (
            scratch_folder() as folder,
            SUMMARISERS.runner(f"summary of {model.sha256}") as runner,
            local_path(model.file) as path,
            path.open("rb") as file,
            (folder / "stats").open("w+b") as stats,
        ):
            deadline = time.monotonic() + settings.FL_RUNNER_SECONDS
            runner.do(Load([(file, None)], [], None, settings.FL_DEVICE), deadline)
            runner.do(Summarise(input_shape), deadline, stats)
            return _read_stats(stats)
    except (JobRefused, CannotLoad, RunnerDied, TooSlow) as error:
        logger.info("model %s can't be summarised: %s", model.pk, error)
        return None


def _read_stats(file: BinaryIO) -> dict[str, Any]:
    """Read what a runner wrote: no trust here."""
    if file.tell() > MAX_STATS:
        raise JobRefused("The summary is too long.")
    file.seek(0)
    try:
        stats = json.load(file)
    except (ValueError, RecursionError) as error:
        raise JobRefused("The summary can't be read.") from error
    if not isinstance(stats, dict):
        raise JobRefused("The summary is no object.")
    return stats
