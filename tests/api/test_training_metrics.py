"""`GET /trainings/<id>/metrics/`: the same values as rows, tables and event files."""

import csv
import io
import json
import struct
import zipfile

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from fl_server_ai.tracking import table
from fl_server_core.models import Metric
from tests.api.conftest import as_user, body_of
from tests.factories import UserFactory


@pytest.fixture
def ask(client, started):
    """Ask for the metrics as the actor: `ask(format="csv")`."""
    return lambda **query: client.get(f"/api/trainings/{started.pk}/metrics/", query)


@pytest.fixture
def rows(ask):
    """Ask for a table: the lines of the CSV, each a dict."""
    return lambda **query: list(csv.DictReader(io.StringIO(text(ask(format="csv", **query)))))


@pytest.fixture
def report(started):
    """Have a user report on a round: `report(user, 1, {"loss": 0.5})`."""

    def call(user, round, values, attempt=0):
        for key, value in values.items():
            kind = "value_binary" if isinstance(value, bytes) else "value_float"
            row = {"step": round, "attempt": attempt, "reporter": user, "key": key, kind: value}
            Metric.objects.create(model=started.model, **row)

    return call


@pytest.fixture
def test_of(started):
    """Note a tested version: `test_of(1, {"loss": 0.5})`."""

    def call(round, means, attempt=0):
        fields = {"round": round, "attempt": attempt, "metric_means": means, "size": 1}
        started.model.checkpoints.create(**fields)

    return call


def text(response):
    assert response.status_code == 200, response.content
    return body_of(response).decode()


def parsed(response):
    assert response["Content-Type"] == "application/json"
    return json.loads(text(response))


def test_long_has_a_row_for_each_value(rows, report, participant):
    report(participant, 1, {"loss": 0.5, "accuracy": 1 / 3})
    report(participant, 1, {"loss": 0.25}, attempt=1)
    first, second, third = rows()
    assert list(first) == [
        "round",
        "attempt",
        "participant",
        "participant_id",
        "metric",
        "value",
        "value_binary",
        "time",
    ]
    assert (first["metric"], float(first["value"])) == ("accuracy", 1 / 3)
    assert (second["metric"], second["value"], second["attempt"]) == ("loss", "0.5", "0")
    assert (third["metric"], third["value"], third["attempt"]) == ("loss", "0.25", "1")
    assert first["participant"] == participant.username
    assert first["participant_id"] == str(participant.pk)
    assert first["time"].endswith("Z")


def test_wide_has_what_counts_of_each_participant_and_then_the_means(
    rows, report, test_of, participant, user
):
    report(participant, 1, {"loss": 9})
    report(participant, 1, {"loss": 0.5, "note": b"good"}, attempt=1)
    report(user, 1, {"accuracy": 0.75}, attempt=1)
    report(participant, 2, {"loss": 0.25})
    test_of(1, {"loss": 9.0})
    test_of(1, {"loss": 0.5, "accuracy": 0.75}, attempt=1)
    answered = rows(shape="wide")
    assert list(answered[0])[5:] == ["accuracy", "loss"]
    told = {
        (row["round"], row["attempt"], row["participant"]): (row["accuracy"], row["loss"])
        for row in answered
    }
    assert told == {
        ("1", "1", participant.username): ("", "0.5"),
        ("1", "1", user.username): ("0.75", ""),
        ("1", "1", "mean"): ("0.75", "0.5"),
        ("2", "0", participant.username): ("", "0.25"),
    }
    assert [row["participant"] for row in answered].index("mean") == 2


def test_a_participant_who_is_called_mean_is_told_from_the_means(rows, report, test_of):
    report(UserFactory(username="mean"), 1, {"loss": 0.5})
    test_of(1, {"loss": 0.75})
    one, other = rows(shape="wide")
    assert (one["participant"], one["loss"]) == ("mean", "0.5")
    assert (other["participant_id"], other["loss"]) == ("", "0.75")


def test_json_has_the_same(ask, report, test_of, participant):
    report(participant, 1, {"loss": 0.5, "note": b"nan"})
    test_of(1, {"loss": 0.5})
    first, second = parsed(ask())
    assert (first["metric"], first["value"], first["value_binary"]) == ("loss", 0.5, None)
    assert (second["metric"], second["value"], second["value_binary"]) == ("note", None, "bmFu")
    own, mean = parsed(ask(format="json", shape="wide"))
    assert (own["participant_id"], own["metrics"]) == (str(participant.pk), {"loss": 0.5})
    assert (mean["participant_id"], mean["metrics"]) == (None, {"loss": 0.5})


def test_where_nothing_is_reported_there_is_a_head_alone(ask, rows):
    assert parsed(ask()) == []
    assert rows() == rows(shape="wide") == []


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_name_becomes_a_formula(ask, report, participant, name):
    report(UserFactory(username=f"{name}x"), 1, {name: -0.5})
    for shape in ("long", "wide"):
        lines = csv.reader(io.StringIO(text(ask(format="csv", shape=shape)), newline=""))
        cells = [cell for line in lines for cell in line]
        assert f"'{name}" in cells
        assert f"'{name}x" in cells
        assert "-0.5" in cells, "a number is none"
        assert name not in cells


def test_what_was_reported_again_has_the_time_of_that(started, participant, rows):
    path = f"/api/models/{started.model_id}/metrics/"
    seen = []
    for value in (1, 2):
        form = {"metric_names": ["a"], "metric_values": [value]}
        assert as_user(participant).post(path, form).status_code == 201
        seen += rows()
    assert [row["value"] for row in seen] == ["1.0", "2.0"]
    assert seen[0]["time"] < seen[1]["time"]


def test_the_form_may_be_named_by_accept_as_well(client, started):
    path = f"/api/trainings/{started.pk}/metrics/"
    kinds = {"text/csv": "text/csv; charset=utf-8", "application/zip": "application/zip"}
    kinds |= {"*/*": "application/json", "image/png": "application/json"}
    for accepted, kind in kinds.items():
        answer = client.get(path, headers={"Accept": accepted})
        body_of(answer)
        assert answer["Content-Type"] == kind
    answer = client.get(path, {"format": "csv"}, headers={"Accept": "application/json"})
    body_of(answer)
    assert answer["Content-Type"].startswith("text/csv"), "the address says more"


def test_errors_are_told_inparsed(ask, client):
    for query, code, told in [
        ({"format": "xlsx"}, 404, {"detail": "Not found."}),
        ({"format": "csv", "shape": "x"}, 400, {"shape": ["Must be one of: long, wide."]}),
    ]:
        answer = ask(**query)
        assert (answer.status_code, answer.json()) == (code, told)
        assert answer["Content-Type"] == "application/json"
    unknown = client.get("/api/trainings/x/metrics/", {"format": "tensorboard"})
    assert (unknown.status_code, unknown.json()) == (400, {"detail": "Training x not found."})


def test_a_table_has_so_many_columns_and_no_more(ask, report, participant, monkeypatch):
    monkeypatch.setattr(table, "MOST_COLUMNS", 2)
    report(participant, 1, {"a": 1, "b": 2, "text": b"no column"})
    assert ask(format="csv", shape="wide").status_code == 200
    report(participant, 2, {"c": 1})
    answer = ask(format="csv", shape="wide")
    assert answer.status_code == 400
    assert answer.json() == ["There are more than 2 metrics: ask for shape=long."]


@pytest.mark.parametrize("form", ["csv", "json", "tensorboard"])
def test_long_and_wide_take_as_many_queries_with_many_rows(ask, report, test_of, user, form):
    def count():
        with CaptureQueriesContext(connection) as queries:
            for shape in ("long", "wide"):
                body_of(ask(format=form, shape=shape))
        return len(queries)

    few = count()
    for number in range(20):
        report(user, number, {"loss": 1, "accuracy": 2})
        test_of(number + 1, {"loss": 1})
    assert count() == few


@pytest.mark.parametrize("form", ["csv", "json", "tensorboard"])
def test_strangers_get_none(started, participant, stranger, nobody, form):
    path = f"/api/trainings/{started.pk}/metrics/?format={form}"
    assert as_user(participant).get(path).status_code == 200
    assert stranger.get(path).status_code == 403
    assert stranger.get(path)["Content-Type"] == "application/json"
    assert nobody.get(path).status_code == 401
    assert as_user(UserFactory(is_superuser=True)).get(path).status_code == 200


# --- TensorBoard ------------------------------------------------------------------------


def events(file):
    """Return what an event file holds, by what another project knows of the format."""
    while head := file.read(12):
        [size], [crc] = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])
        assert crc == masked(head[:8])
        data = file.read(size)
        assert struct.unpack("<I", file.read(4)) == (masked(data),)
        yield Event.FromString(data)


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.fixture
def unpacked(ask):
    """Ask for the event files: those of each folder, as lists of events."""

    def call():
        content = io.BytesIO(body_of(ask(format="tensorboard")))
        with zipfile.ZipFile(content) as archive:
            assert archive.testzip() is None
            found = {}
            for name in archive.namelist():
                with archive.open(name) as file:
                    found[name.split("/")[0]] = list(events(file))
                assert len(name.split("/")) == 2
                assert "/events.out.tfevents." in name
        return found

    return call


def test_event_files_hold_what_counts(unpacked, report, test_of, participant, user):
    report(participant, 1, {"loss": 9})
    report(participant, 1, {"loss": 0.5, "accuracy/µ": 0.25}, attempt=1)
    report(participant, 300, {"loss": 1e300})
    report(user, 1, {"loss": -0.5}, attempt=1)
    test_of(1, {"loss": 0.125})
    found = unpacked()
    assert set(found) == {"mean", participant.username, user.username}
    head, first, last = found[participant.username]
    assert head.file_version == "brain.Event:2"
    scalars = {value.tag: value.simple_value for value in first.summary.value}
    assert (first.step, scalars) == (1, {"loss": 0.5, "accuracy/µ": 0.25})
    assert (last.step, last.summary.value[0].simple_value) == (300, float("inf"))
    newest = Metric.objects.filter(step=1, attempt=1, reporter=participant).latest("created_at")
    assert first.wall_time == newest.created_at.timestamp()
    assert found["mean"][1].summary.value[0].simple_value == 0.125


def test_a_folder_is_one_participants_and_leads_nowhere_else(unpacked, report):
    names = ["..", ".", ".a", "a.b", "mean", "a b", "a@b.c"]
    for name in names:
        report(UserFactory(username=name), 1, {"loss": 0.5})
    found = set(unpacked())
    assert len(found) == len(names) + 1
    assert {"a.b", "a@b.c", "mean"} < found
    assert not [name for name in found if name.startswith(".") or " " in name]
