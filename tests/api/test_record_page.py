"""`/trainings/<id>/record/`: the record as a page to print, and the very file that is signed."""

import base64
import json
import re

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from fl_server_ai.trainer import record
from fl_server_core import signing
from fl_server_core.models import Checkpoint, Notification, Training, User
from tests.api.test_model_page import HOSTILE, browse, browser, shown  # noqa: F401 (fixtures)
from tests.api.test_record import SCRIPT
from tests.factories import LocalModelFactory, NotificationFactory, UserFactory


@pytest.fixture
def version(started, participant):
    version = Checkpoint.objects.create(
        model=started.model, round=1, attempt=0, size=9, sha256="cd" * 32, metric_means={"f1": 0.25}
    )
    update = {"sha256": "ab" * 32, "size": 7, "sample_size": 2**63 - 1, "merged_into": version}
    LocalModelFactory(base_model=started.model, owner=participant, **update)
    return version


def path(training):
    return f"/trainings/{training.pk}/record/"


def saved_file(page):
    """Return what "Save as JSON" saves."""
    encoded = re.search(r'href="data:application/json;base64,([^"]+)"', page.content.decode())[1]
    return json.loads(base64.b64decode(encoded))


@pytest.mark.usefixtures("version")
def test_it_says_who_made_what_and_who_is_missing(browser, started, participant, user):  # noqa: F811
    Training.objects.update(options={"round": {"quorum": 0.5}, "note": [1]})
    silent = NotificationFactory(training=started, type="UPDATE_ROUND_START").receiver
    text = shown(browser.get(path(started)))
    for told in (
        f"actor {user.username}",
        "round.quorum 0.5",
        "note [1]",
        "f1 0.25",
        f"{participant.username} 0 0 9223372036854775807 1 7 {'ab' * 32}",
        "cd" * 32,
        f"{silent.username} : It may still answer.",
        "Update round start 0 0 2",
        started.model.sha256,
        signing.public_key(),
    ):
        assert told in text, told


@pytest.mark.usefixtures("version")
def test_the_file_that_it_saves_is_what_it_has_signed(browser, started):  # noqa: F811
    page = browser.get(path(started))
    signed = saved_file(page)
    assert f"signature {signed['signature']}" in shown(page)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signing.public_key()))
    key.verify(base64.b64decode(signed["signature"]), rfc8785.dumps(signed["record"]))


def test_it_prints_the_script_of_the_documentation(browser, started):  # noqa: F811
    assert " ".join(SCRIPT.split()) in shown(browser.get(path(started)))


@pytest.mark.usefixtures("version")
def test_it_has_the_rounds_that_are_asked_for(browser, started):  # noqa: F811
    page = browser.get(path(started), {"first_round": 1, "last_round": 1})
    assert "rounds in this record 1 to 1" in shown(page)
    assert [each["round"] for each in saved_file(page)["record"]["versions"]] == [1]
    link = f"/api{path(started)}?first_round=1&amp;last_round=1"
    assert link in page.content.decode()


def test_rounds_that_are_refused_can_be_asked_for_anew(browser, started, monkeypatch):  # noqa: F811
    page = browser.get(path(started), {"first_round": "x"})
    assert "first_round: " in shown(page, 400)
    assert 'name="last_round"' in page.content.decode()
    empty = browser.get(path(started), {"first_round": "0", "last_round": ""})
    assert empty["Location"] == f"{path(started)}?first_round=0"  # that is what the form sends
    monkeypatch.setattr(record.RecordReader, "room", 0)
    assert record.TOO_LONG in shown(browser.get(path(started)), 400)


def test_strangers_learn_of_no_record(browse, started, participant):  # noqa: F811
    assert browse(participant).get(path(started)).status_code == 200
    assert browse(UserFactory(is_superuser=True)).get(path(started)).status_code == 200
    stranger = browse(UserFactory())
    text = shown(stranger.get(path(started)), 404)
    assert text == shown(stranger.get(f"/trainings/{started.model_id}/record/"), 404)
    assert started.model.name not in text
    answer = Client().get(path(started))
    assert answer["Location"] == f"/api-auth/login/?next={path(started)}"


def test_names_are_text(browser, started, participant, version):  # noqa: F811
    User.objects.filter(pk=participant.pk).update(username=HOSTILE)
    Training.objects.update(
        options={HOSTILE: {HOSTILE: HOSTILE}}, metric_names=[HOSTILE], state_reason=HOSTILE
    )
    Checkpoint.objects.update(metric_means={HOSTILE: 1.0})
    started.model.name = HOSTILE
    started.model.save()
    content = browser.get(path(started)).content.decode()
    assert content.count("&lt;script&gt;") > 5
    assert "<script>" not in content


def test_it_takes_as_many_queries_with_many_rows(browser, started, version):  # noqa: F811
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(path(started)).status_code == 200
        return len(queries)

    few = count()
    for _ in range(10):
        NotificationFactory(training=started, type="UPDATE_ROUND_START")
        LocalModelFactory(base_model=started.model, merged_into=version)
    assert Notification.objects.count() > 10
    assert count() == few
