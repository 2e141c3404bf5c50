"""Tokens and messages lie in folders of the test; nobody waits; the server is one that answers."""

import pytest
import responses

from fl_client import Api, Transport

URL = "http://server.test:8000"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    for name in ("FL_URL", "FL_TOKEN", "FL_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """How long was waited each time, without waiting."""
    pauses = []
    monkeypatch.setattr("fl_client.transport.time.sleep", pauses.append)
    return pauses


@pytest.fixture
def server():
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def transport():
    return Transport(URL)


@pytest.fixture
def api(transport):
    return Api(transport)
