"""What the present work is about: the ids that its log lines carry, as far as they are known.

Where work begins its ids are told, once; a line itself needs none. They are a thread's own; they go
to another one by `contextvars.copy_context`, and to a task's worker with its message.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

REQUEST = "request"
"""The id of the HTTP request that all of this follows from."""

_ids: ContextVar[Mapping[str, object]] = ContextVar("ids", default=MappingProxyType({}))


def known_ids() -> Mapping[str, object]:
    """Return them by name: request, user, training, round, model."""
    return _ids.get()


def current_request_id() -> str:
    """Return the id of the request that is at work here or has caused it, or an empty string."""
    return str(_ids.get().get(REQUEST, ""))


def begin(**ids: object) -> None:
    """Begin other work: forget what this thread has done before. None is an id not known."""
    _ids.set(_without_none(ids))


def note(**ids: object) -> None:
    """Add what has become known, until the work ends or the block that it is in."""
    _ids.set({**_ids.get(), **_without_none(ids)})


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Add ids for as long as the block lasts."""
    token = _ids.set({**_ids.get(), **_without_none(ids)})
    try:
        yield
    finally:
        _ids.reset(token)


def _without_none(ids: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in ids.items() if value is not None}
