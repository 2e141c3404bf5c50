"""The list of faults: by name, what is done to a training under way, and when."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e.crowd import Message
from tests.faults.participants import UPDATE
from tests.faults.training import MIDDLE, Running

Inject = Callable[[Any, Running], None]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a moment: all but the last have answered this step.

    A fault that changes who contributes tells the training so. `server` is the fixture that is
    hurt, `options` are the training's.
    """

    inject: Inject
    server: str
    moment: Message
    options: dict[str, Any]

    @property
    def summary(self) -> str:
        return (self.inject.__doc__ or "").split("\n")[0]


FAULTS: dict[str, Fault] = {}


def fault(
    server: str = "backstage", moment: Message = (UPDATE, MIDDLE), **options: Any
) -> Callable[[Inject], Inject]:
    """Put a function into the list under its name."""

    def add(inject: Inject) -> Inject:
        FAULTS[inject.__name__] = Fault(inject, server, moment, options)
        return inject

    return add
