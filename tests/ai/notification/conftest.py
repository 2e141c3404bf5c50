from dataclasses import dataclass
from typing import Any

import pytest

from fl_server_ai.notification import posting


@dataclass
class Endpoint:
    """Stands in for all receivers: gives a status, or what a function does; keeps what came."""

    answer: Any = 200

    def __post_init__(self):
        self.bodies, self.headers = [], []

    def post(self, url, body, *, seconds, headers):
        self.bodies.append(body)
        self.headers.append(headers)
        return self.answer() if callable(self.answer) else self.answer


def silence():
    raise posting.Unreachable("no answer in time")


@pytest.fixture
def endpoint(monkeypatch):
    made = Endpoint()
    monkeypatch.setattr(posting, "post", made.post)
    return made
