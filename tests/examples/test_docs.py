"""What docs/notifications.md shows works."""

import re
import secrets
import time
from base64 import b64encode
from pathlib import Path

import pytest

from fl_server_ai.notification import signature

TEXT = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
SECRET = b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def is_genuine():
    names = {}
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1], names)
    return names["is_genuine"]


def test_the_recipe_takes_what_is_signed_now_and_nothing_else(is_genuine):
    now = int(time.time())
    headers = signature.headers(SECRET, message_id="n", timestamp=now, body=b"{}")
    assert is_genuine(SECRET, headers, b"{}")
    assert not is_genuine(SECRET, headers, b"{ }")
    assert not is_genuine(SECRET, headers | {"webhook-timestamp": str(now + 1)}, b"{}")
    old = signature.headers(SECRET, message_id="n", timestamp=now - 3600, body=b"{}")
    assert not is_genuine(SECRET, old, b"{}")
