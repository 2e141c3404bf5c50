"""What a message asks a participant for: fetch the model, have it worked on, hand in the answer."""

import logging
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any, Protocol

from fl_client.api import Api
from fl_client.errors import Refused, Unfit
from fl_client.job import ASKED_BY, MOMENTS, PHASES, TEST, TRAIN, Answer, Job
from fl_client.transfers import Fetched
from fl_client.updates import STATE, Plan
from fl_client.weights import read_arrays

logger = logging.getLogger(__name__)

Item = dict[str, Any]

OUT = (400, 403, 404)
"""What is answered about a training that was removed, or that one was taken out of."""

ID = re.compile(r"[\w-]{1,100}", re.ASCII)

OVER = frozenset({"TRAINING_FINISHED", "CLIENT_REMOVED"})


class Runner(Protocol):
    """Who calls the user's functions."""

    def has_begun(self, training: str) -> bool:
        """Tell whether a part of the model is enough to go on with."""

    def run(self, job: Job, model: Path) -> Answer:
        """Have a job done with the model in a file."""

    def end(self, training: str) -> None:
        """Forget a training that is over."""


@dataclass(frozen=True)
class Wire:
    """How a participant sends its updates, and has its downloads sent."""

    encoding: str = STATE
    share: float = 0.01
    dtype: str = ""


@dataclass
class Worker:
    """Does one message's work after another; `own_module`: of a model weights alone are needed."""

    api: Api
    user: str
    folder: Path
    runner: Runner
    own_module: bool = False
    wire: Wire = field(default_factory=Wire)
    plans: dict[str, Plan] = field(default_factory=dict)

    def do(self, item: Item) -> None:
        """Do what a message asks for, unless nobody waits for that any more."""
        kind = item["notification_type"]
        logger.info("%s %s", kind, item["body"].get("round", ""))
        if kind in ASKED_BY:
            self._answer(item)
        elif kind in OVER:
            self._end(_plain(item["training_uuid"]))

    def _answer(self, item: Item) -> None:
        found = self._find_awaited(item)
        if found is None:
            return
        try:
            self._work(*found)
        except Refused as refused:
            if self._find_awaited(item):  # the answer itself is at fault, and the next would be
                raise
            logger.info("It came too late: %s", refused)

    def _work(self, job: Job, global_model: str) -> None:
        plan, file = self._fetch(job, global_model)
        answer = self.runner.run(job, file.path)
        with tempfile.TemporaryDirectory(prefix="fl-client-") as folder:
            self._hand_in(job, answer, plan, file, Path(folder))

    def _find_awaited(self, item: Item) -> tuple[Job, str] | None:
        """Return the job, and the global model's id; nothing where nobody waits for it."""
        kind, number = ASKED_BY[item["notification_type"]], item["body"]["round"]
        training_id = _plain(item["training_uuid"])
        try:
            training = self.api.training(training_id)
        except Refused as refused:
            if refused.status not in OUT:
                raise
            logger.info("It is over: %s", refused)
            return None
        now = training["round"]
        is_now = (now["phase"], now["number"]) == (PHASES[kind], number)
        if not is_now or self.user not in now["awaited"]:
            logger.info("It is over: nobody waits for that any more.")
            return None
        model, method = _plain(item["body"]["global_model_uuid"]), training["aggregation_method"]
        job = Job(kind, training_id, model, number, method, training["options"])
        return job, _plain(training["model"])

    def _fetch(self, job: Job, global_model: str) -> tuple[Plan, Fetched]:
        """Download the model: whole at first, then the part and in the type that are enough."""
        folder = self.folder / job.training
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():  # a daisy chain brings another model in each round
            if not path.name.startswith((job.model, global_model)):
                path.unlink()
        plan = self.plans.get(job.training)
        part, dtype = self._form(job, plan) if plan else ("", "")
        target = folder / ".".join(filter(None, [job.model, part, dtype]))
        file = self.api.download_model(job.model, target, part=part, dtype=dtype)
        if plan is None:
            plan = Plan.read(file.path, job.options, self.wire.encoding, self.wire.share)
            self.plans[job.training] = plan
        return plan, file

    def _form(self, job: Job, plan: Plan) -> tuple[str, str]:
        if plan.holds_code and not self.own_module:
            return "", ""
        goes_on = plan.is_part and self.runner.has_begun(job.training)
        return "exchanged" if goes_on else "", self.wire.dtype

    def _hand_in(self, job: Job, answer: Answer, plan: Plan, file: Fetched, folder: Path) -> None:
        if job.kind == TRAIN:
            self._send_update(job, answer, plan, file, folder / "update")
        elif job.kind == MOMENTS:
            files = folder / "first", folder / "second"
            for moments, target in zip(answer.weights, files, strict=True):
                plan.write_moments(moments, target)
            self.api.send_moments(job.model, *files, round=job.round, sample_size=answer.samples)
        elif job.kind == TEST:
            self.api.report_metrics(job.model, answer.metrics)

    def _send_update(
        self, job: Job, answer: Answer, plan: Plan, file: Fetched, target: Path
    ) -> None:
        before = {} if plan.encoding == STATE else read_arrays(file.path)
        plan.write_update(answer.weights[0], before, target)
        self.api.send_update(
            job.model,
            target,
            round=job.round,
            sample_size=answer.samples,
            base=file.tag,
            encoding=plan.encoding,
            metrics=answer.metrics,
        )

    def _end(self, training: str) -> None:
        self.runner.end(training)
        self.plans.pop(training, None)
        rmtree(self.folder / training, ignore_errors=True)


def _plain(name: object) -> str:
    """Return an id of the server's; raises `Unfit` for a path, because files get its name here."""
    if isinstance(name, str) and ID.fullmatch(name):
        return name
    raise Unfit(f"The server names something in a way that no server does: {name!r:.100}.")
