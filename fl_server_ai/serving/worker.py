"""What a serving worker does: files to a runner, a result to the storage."""

import json
import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from fl_server_ai.runner.errors import CannotLoad, JobRefused, Missing, RunnerDied, RunnerTooSlow
from fl_server_ai.runner.jobs import Load, Pack, Predict, Summarise
from fl_server_ai.runner.launcher import Launcher
from fl_server_ai.runner.pool import Pool, Runner
from fl_server_ai.serving.choice import Choice, choose
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.files import local_path, scratch_folder, store, stored_path
from fl_server_core.models import Model
from fl_server_core.models.model import ModelKind
from fl_server_core.places import Places

logger = logging.getLogger(__name__)

LAUNCHER = Launcher(settings.FL_RUNNER_MEMORY_BYTES, settings.FL_RUNNER_SECONDS)
RUNNERS = Pool(LAUNCHER, settings.FL_RUNNERS)
"""This process's; none is started before it is needed."""

SUMMARISERS = Pool(LAUNCHER, idle=0)
"""No model is summarised twice, so none of these stays."""

TURNS = Places(4)
"""Predictions under way at once in this process."""

PACKER = "packer"
"""The key of the runner that loads no model."""

MAX_STATS_BYTES = 4 * 1024**2
"""Some ten thousand layers."""

Outcome = dict[str, str]
"""One entry: `file`, the stored answer's name; or the kind of a failure and its sentence."""


def predict(model_id: UUID, input_name: str, *, is_json: bool, form: str) -> Outcome:
    """Predict for a stored input and store the answer in this form."""
    model = Model.objects.select_related("base_model").filter(pk=model_id).first()
    if model is None:
        return {"refused": "The model was removed meanwhile."}
    try:
        return {"file": _predict(choose(model), input_name, is_json=is_json, form=form)}
    except (InvalidRequest, JobRefused, RunnerDied) as error:
        return {"refused": str(error)}
    except FileNotFoundError:  # the model has moved on, or nobody waits any more
        return {"refused": "A file is gone; try again."}
    except RunnerTooSlow:
        return {"slow": f"The model took more than {settings.FL_RUNNER_SECONDS} seconds."}
    except Missing as error:
        return {"missing": str(error)}
    except CannotLoad as error:
        logger.warning("model %s can't be loaded: %s", model_id, error)
        return {"unloadable": str(error)}


def _predict(choice: Choice, input_name: str, *, is_json: bool, form: str) -> str:
    with scratch_folder() as folder:
        result, answer = folder / "result", folder / "answer"
        with RUNNERS.runner(choice.key) as runner, stored_path(input_name) as source:
            deadline = time.monotonic() + settings.FL_RUNNER_SECONDS  # now that there is a runner
            _load(runner, choice, deadline)
            job = Predict(
                method=choice.method.value,
                samples=choice.samples,
                softmax=choice.softmax,
                input=str(source),
                is_json=is_json,
                input_shape=choice.input_shape,
                max_batch=settings.FL_MAX_INFERENCE_BATCH,
                output=str(result),
            )
            runner.do(job, deadline)
        with RUNNERS.runner(PACKER) as packer:
            packer.do(Pack(source=str(result), form=form, output=str(answer)), deadline)
        return store(answer).name


def _load(runner: Runner, choice: Choice, deadline: float) -> None:
    """Have the runner load what it needs, unless it has done so for an earlier request."""
    if runner.used:
        return
    with ExitStack() as stack:
        paths: dict[str, str] = {"": ""}

        def path_of(field: Any) -> str:
            if field.name not in paths:
                paths[field.name] = str(stack.enter_context(local_path(field)))
            return paths[field.name]

        job = Load(
            members=[
                (
                    path_of(member.global_model.file),
                    path_of(member.file) if member.kind == ModelKind.LOCAL else "",
                )
                for member in choice.members
            ],
            moments=[path_of(moment) for moment in choice.moments],
            preprocessing=path_of(choice.preprocessing),
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
        ):
            deadline = time.monotonic() + settings.FL_RUNNER_SECONDS
            output = folder / "stats"
            runner.do(Load([(str(path), "")], [], "", settings.FL_DEVICE), deadline)
            runner.do(Summarise(input_shape, str(output)), deadline)
            return _read_stats(output)
    except (JobRefused, CannotLoad, RunnerDied, RunnerTooSlow) as error:
        logger.info("model %s can't be summarised: %s", model.pk, error)
        return None


def _read_stats(path: Path) -> dict[str, Any]:
    """Read what a runner wrote: no trust here."""
    try:
        if path.stat().st_size > MAX_STATS_BYTES:
            raise JobRefused("The summary is too long.")
        stats = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise JobRefused("The summary can't be read.") from error
    if not isinstance(stats, dict):
        raise JobRefused("The summary is no object.")
    return stats
