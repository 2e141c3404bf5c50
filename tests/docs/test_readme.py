"""The README is one page, and what it leaves out is on the pages that it leads to."""

import re

import pytest

from fl_server_core.models.notification import NotificationType
from tests.compose import ROOT


def rows(page, heading):
    """Return the first cells of the table below a heading."""
    text = (ROOT / page).read_text().partition(f"## {heading}\n")[2]
    found = re.search(r"^\| ---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return re.findall(r"^\| (.*?) \|", found[1], re.MULTILINE)


def test_the_readme_is_one_page():
    assert (ROOT / "README.md").read_text().count("\n") <= 110


def test_a_client_by_hand_finds_what_each_notification_asks_for():
    named = re.findall(r"`(\w+)`", " ".join(rows("docs/notifications.md", "What each asks for")))
    assert sorted(named) == sorted(NotificationType.values)


@pytest.mark.parametrize("request_", rows("docs/api.md", "A training, as its actor asks for it"))
def test_what_an_actor_asks_is_in_the_list(request_):
    first, *_ = re.findall(r"`(\w+ /api/\S+)`", request_)
    assert f"`{first}`" in rows("docs/api.md", "What can be asked")
