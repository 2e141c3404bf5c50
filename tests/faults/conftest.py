"""Servers to be hurt, people to take part, and what comes out where nothing goes wrong."""

import os
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.e2e.conftest import Serve, running_serve
from tests.e2e.crowd import listening
from tests.e2e.production import running_production
from tests.faults.backstage import DISK, Backstage
from tests.faults.participants import Inboxes
from tests.faults.training import Cast, Running, running

PEOPLE = 4
IMPATIENT = {
    "FL_MERGE_ATTEMPTS": "3",
    "FL_NOTIFY_RETRY_SECONDS": "1",
}


@pytest.fixture(scope="session")
def mail() -> Iterator[tuple[str, Inboxes]]:
    """The URL below which people are told things, and what came."""
    with listening(Inboxes()) as found:
        yield found


@pytest.fixture(scope="session")
def backstage(tmp_path_factory) -> Iterator[Backstage]:
    """The production topology, impatient, on a disk that can be full."""
    faults = tmp_path_factory.mktemp("faults")
    path = os.pathsep.join(filter(None, [str(DISK), os.environ.get("PYTHONPATH")]))
    settings = IMPATIENT | {"PYTHONPATH": path, "FL_FAULTS": str(faults)}
    with running_production(tmp_path_factory.mktemp("production"), settings) as production:
        yield Backstage(production, faults)
        production.kill(*production.processes)  # as often before; to ask them takes long


@pytest.fixture(scope="session")
def serve(tmp_path_factory) -> Iterator[Serve]:
    """The embedded topology."""
    with running_serve(tmp_path_factory.mktemp("serve"), **IMPATIENT) as running:
        yield running


@pytest.fixture(scope="session")
def cast_of(request, mail) -> Callable[[str], Cast]:
    """A function: the people of one of these servers."""

    @cache
    def cast(name: str) -> Cast:
        server = request.getfixturevalue(name)
        url = server.url if name == "serve" else server.production.url
        return Cast.of(url, mail, PEOPLE, name)

    return cast


@pytest.fixture(scope="session")
def undisturbed() -> Callable[[Running], list[str]]:
    """A function: the hashes of a training's models if nothing goes wrong."""
    return outcomes()


def outcomes() -> Callable[[Running], list[str]]:
    """Return a function that has a training's rounds done again by those who contributed.

    An update replaces the weights: what a round makes depends on its own contributors alone.
    """
    known: dict[frozenset[int], list[str]] = {}

    def expected(training: Running) -> list[str]:
        for numbers in set(training.contributors.values()) - known.keys():
            with running(training.cast, numbers=numbers, rounds=training.rounds) as calm:
                calm.finish()
                calm.check()
                known[numbers] = calm.hashes()
        begin = next(iter(known.values()))[0]
        return [begin, *(known[who][at + 1] for at, who in training.contributors.items())]

    return expected
