"""`GET /trainings/<id>/record/`: what it says, and that its signature tells of any change."""

import base64
import io
import json
import re
import runpy
import secrets
import sys

import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fl_server_ai.trainer import record
from fl_server_ai.trainer.record import RecordReader
from fl_server_core.models import Checkpoint, Notification, Training, User
from tests.api.conftest import as_user
from tests.compose import ROOT
from tests.factories import LocalModelFactory, TrainingFactory, UserFactory

MOST = 2**63 - 1
SCRIPT = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "record.md").read_text(), re.DOTALL)[1]


@pytest.fixture
def ask(client, started):
    """Ask for the record as the actor: `ask(first_round=1)`."""
    return lambda **query: client.get(f"/api/trainings/{started.pk}/record/", query)


@pytest.fixture
def version(started, participant):
    """A version that was made by one update."""
    version = Checkpoint.objects.create(
        model=started.model,
        round=1,
        attempt=0,
        size=9,
        sha256="cd" * 32,
        metric_means={"accuracy": 1 / 3, "large": 1e21, "µ\n": 0.0},
    )
    LocalModelFactory(
        base_model=started.model,
        owner=participant,
        sha256="ab" * 32,
        size=7,
        sample_size=MOST,
        merged_into=version,
    )
    return version


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    """Run the script of the documentation on an answer's text, with the server's public key."""
    path = tmp_path / "verify.py"
    path.write_text(SCRIPT)

    def call(text, key):
        (tmp_path / "record.json").write_bytes(text)
        monkeypatch.setattr(sys, "argv", ["verify.py", str(tmp_path / "record.json"), key])
        runpy.run_path(str(path))
        return json.loads(capsys.readouterr().out)

    return call


def known_key():
    """Return what the operator gives to those who verify."""
    out = io.StringIO()
    call_command("record_key", stdout=out)
    return out.getvalue().strip()


def test_it_says_who_made_what(ask, started, participant, user, version):
    said = ask().json()["record"]
    actor = {"id": str(user.pk), "username": user.username}
    client = {"id": str(participant.pk), "username": participant.username}
    assert said["schema"] == 1
    assert said["training"]["id"] == str(started.pk)
    assert said["training"]["actor"] == said["model"]["owner"] == actor
    assert said["participants"] == [client]
    assert said["model"]["sha256"] == started.model.sha256
    assert said["rounds"] == {"first": 0, "last": None}
    first, second = said["versions"]
    assert (first["sha256"], first["updates"]) == (started.model.sha256, [])
    assert (second["id"], second["round"], second["sha256"]) == (str(version.pk), 1, "cd" * 32)
    [update] = second["updates"]
    assert update.pop("id")
    assert update == {
        "owner": client,
        "round": 0,
        "attempt": 0,
        "sample_size": "9223372036854775807",
        "share": 1.0,
        "sha256": "ab" * 32,
        "size": 7,
    }
    [call] = said["calls"]
    assert call.pop("missing") == []
    assert call == {"type": "UPDATE_ROUND_START", "round": 0, "attempt": 0, "asked": 1}


def test_it_says_who_was_asked_in_vain(ask, started, participant):
    [call] = ask().json()["record"]["calls"]
    client = {"id": str(participant.pk), "username": participant.username}
    assert call["missing"] == [{"user": client, "because": "awaited"}]


def test_it_names_the_software_without_loading_it(ask):
    software = ask().json()["record"]["software"]
    assert set(software) == {"Python", "fl-server", "torch", "numpy", "Django"}
    assert all(software.values())


def test_it_holds_nothing_about_people_but_their_names(ask, started, participant, user, version):
    for who in (participant, user):
        who.email, who.message_endpoint = "a@mail.test", "http://10.1.2.3/hook"
        who.save()
    text = ask().content.decode()
    assert "mail.test" not in text
    assert "10.1.2.3" not in text


@pytest.mark.usefixtures("version")
def test_an_unchanged_record_verifies(ask, verify):
    answer = ask()
    assert verify(answer.content, known_key()) == answer.json()["record"]
    written_anew = json.dumps(answer.json(), indent=4, sort_keys=True).encode()
    assert verify(written_anew, known_key()) == answer.json()["record"]


@pytest.mark.usefixtures("version")
def test_any_changed_byte_of_the_record_is_refused(ask, verify):
    answer = ask().json()
    key, head = known_key(), b'{"signature": "%s", "record": ' % answer["signature"].encode()
    body = rfc8785.dumps(answer["record"])
    assert verify(head + body + b"}", key)
    for place, byte in enumerate(body):
        changed = body[:place] + bytes([byte ^ 1]) + body[place + 1 :]
        with pytest.raises((InvalidSignature, ValueError)):
            verify(head + changed + b"}", key)


def test_another_servers_key_is_refused(ask, verify, settings):
    text = ask().content
    settings.FL_RECORD_KEY = base64.b64encode(secrets.token_bytes(32)).decode()
    with pytest.raises(InvalidSignature):
        verify(text, known_key())
    verify(ask().content, known_key())


def test_the_key_stays_with_the_secret_key_or_the_setting(settings):
    by_secret = known_key()
    assert known_key() == by_secret
    settings.SECRET_KEY = secrets.token_urlsafe()
    assert known_key() != by_secret
    settings.FL_RECORD_KEY = base64.b64encode(bytes(32)).decode()
    by_setting = known_key()
    settings.SECRET_KEY = secrets.token_urlsafe()
    assert known_key() == by_setting


def test_options_that_no_number_of_json_can_hold_are_digits(ask, verify, started):
    options = {"mine": [2**53 - 1, 2**53, -(2**53), 0.1, 1e-300, True, None, "\u2028é"]}
    Training.objects.filter(pk=started.pk).update(options=options)
    answer = ask()
    said = answer.json()["record"]["training"]["options"]["mine"]
    assert said[:3] == [9007199254740991, "9007199254740992", "-9007199254740992"]
    assert said[3:] == options["mine"][3:]
    verify(answer.content, known_key())


@pytest.mark.usefixtures("version")
def test_some_rounds_alone_may_be_asked_for(ask):
    said = ask(first_round=1, last_round=1).json()["record"]
    assert said["rounds"] == {"first": 1, "last": 1}
    assert [version["round"] for version in said["versions"]] == [1]
    assert said["calls"] == []
    refused = ask(first_round="x", last_round=-1)
    assert refused.status_code == 400
    assert set(refused.json()) == {"first_round", "last_round"}


def test_one_that_is_too_long_is_refused_with_a_sentence(ask, monkeypatch):
    monkeypatch.setattr(record.RecordReader, "room", 1)  # for one version and one call
    answer = ask()
    assert (answer.status_code, answer.json()) == (400, [record.TOO_LONG])


def test_strangers_get_none(client, started, participant, stranger, nobody):
    path = f"/api/trainings/{started.pk}/record/"
    assert as_user(participant).get(path).status_code == 200
    assert stranger.get(path).status_code == 403
    assert nobody.get(path).status_code == 401
    assert as_user(UserFactory(is_superuser=True)).get(path).status_code == 200
    unknown = client.get("/api/trainings/x/record/")
    assert (unknown.status_code, unknown.json()) == (400, {"detail": "Training x not found."})


def test_a_training_may_have_thousands_of_participants(db):
    training = TrainingFactory(state="O", phase="update")
    users = User.objects.bulk_create(User(username=f"u{number}") for number in range(1200))
    call = {"training": training, "type": "UPDATE_ROUND_START", "round": 0, "attempt": 0}
    Notification.objects.bulk_create(
        Notification(receiver=user, body={}, state="missed", sequence=number, **call)
        for number, user in enumerate(users)
    )
    with CaptureQueriesContext(connection) as seen:
        [asked] = RecordReader(training).read().calls
        names = {missing.user.username for missing in asked.missing}
    assert len(names) == 1200
    assert len(seen) < 20
