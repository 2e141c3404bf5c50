"""How work on a model ends without a result; each has a code and a sentence.

    Failure
    ├── JobRefused       refused     the input doesn't fit, or the model refuses it
    │   └── RunnerSpent  spent       and its runner can do no more
    ├── RunnerDied       died        the model ended its process: out of memory, most likely
    ├── TooSlow          slow        the model took too long and was stopped
    ├── CannotLoad       unloadable  a stored file that torch can't load
    │   └── Missing      missing     because this machine lacks something
    ├── NoWorker         busy        nobody is there, or free, to do it
    │   └── NoRunner     away        what starts runners can't be reached
    ├── NoCage           uncaged     runners aren't held as they must be, and do nothing
    └── RunnerFault      fault       an error of our own in the runner

Raised in a runner or a worker, each crosses over to whoever waits as `tell` says it, and is raised
there by `read`. The API turns each into a status. JobRefused may have several sentences: one a
line. Imports nothing: runners and web processes know it alike.
"""

import logging
from collections.abc import Mapping
from typing import Any


class Failure(Exception):
    """No result."""

    code = "failure"
    level = logging.INFO
    longest = 1000

    def tell(self) -> dict[str, str]:
        """Return what crosses over."""
        return {"code": self.code, "sentence": str(self)[: self.longest]}


class JobRefused(Failure):
    """The job can't be done with this input."""

    code = "refused"


class RunnerSpent(JobRefused):
    """Besides, its runner can do no job any more."""

    code = "spent"


class RunnerDied(Failure):
    """The runner ended before it answered."""

    code = "died"


class TooSlow(Failure):
    """The model didn't answer in time."""

    code = "slow"


class CannotLoad(Failure):
    """The model, or what belongs to it, can't be loaded."""

    code = "unloadable"
    level = logging.WARNING


class Missing(CannotLoad):
    """The machine lacks a library or a device that is needed."""

    code = "missing"


class NoWorker(Failure):
    """Nobody took the job in time."""

    code = "busy"


class NoRunner(NoWorker):
    """What starts runners can't be reached."""

    code = "away"
    level = logging.ERROR


class NoCage(Failure):
    """The system lacks what holds a model; the sentence says what."""

    code = "uncaged"
    level = logging.ERROR


class RunnerFault(Failure):
    """The runner's own code failed; the sentence is its traceback."""

    code = "fault"
    level = logging.ERROR
    longest = 10_000


KINDS: dict[str, type[Failure]] = {
    kind.code: kind
    for kind in (
        JobRefused,
        RunnerSpent,
        RunnerDied,
        TooSlow,
        CannotLoad,
        Missing,
        NoWorker,
        NoRunner,
        NoCage,
        RunnerFault,
    )
}


def read(told: Mapping[str, Any]) -> Failure:
    """Return the failure that was told. Raises ValueError if there is none of this code."""
    kind = KINDS.get(str(told.get("code")))
    if kind is None:
        raise ValueError(f"there is no failure {told.get('code')!r}")
    return kind(str(told.get("sentence")))
