"""Nothing is lost: a training comes to the same end whatever goes wrong on its way.

What is done to it is listed in `FAULTS`, from the modules named of_…
"""

import pytest

from tests.faults import of_people, of_processes, of_serve, of_stores  # noqa: F401 (they fill it)
from tests.faults.registry import FAULTS
from tests.faults.training import running

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("name", FAULTS)
def test_a_training_comes_to_the_same_end_after(name, request, cast_of, undisturbed):
    fault = FAULTS[name]
    server, cast = request.getfixturevalue(fault.server), cast_of(fault.server)
    with running(cast, moment=fault.moment, revive=revival(server), **fault.options) as training:
        training.await_all_but_the_last()
        fault.inject(server, training)
        training.finish()
        training.check()
    assert training.hashes() == undisturbed(training)


def revival(server):
    """Return what starts again what has died; `manage.py serve` does so itself."""
    return server.production.revive if hasattr(server, "production") else lambda: None
