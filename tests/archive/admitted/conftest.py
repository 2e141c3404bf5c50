import warnings
from collections.abc import Mapping

import pytest
from admitted_models import MODELS, saved


@pytest.fixture(scope="session")
def archives() -> Mapping[str, Mapping[str, bytes]]:
    """The members of every model's archive; tracing warns of whatever it makes constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: saved(make()) for name, make in MODELS.items()}
