"""What only the production topology has: the proxy, and servers that can die."""

import os
import socket
import subprocess
import sys

import pytest
import requests
import torch

from tests.compose import ROOT
from tests.e2e.conftest import ORIGIN
from tests.e2e.people import Person
from tests.e2e.production import MAX_UPLOAD_BYTES
from tests.e2e.tiny import scripted, update_of, weight_of
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ada(production):
    return Person(production.url)


@pytest.fixture(scope="module")
def model(ada):
    return ada.upload_model(scripted(1.0))


def download(person, model, **headers):
    return person.session.get(
        f"{person.url}/api/models/{model}/", headers=headers, timeout=PATIENCE
    )


def test_the_proxy_sends_the_file_and_keeps_the_headers(ada, model):
    answer = download(ada, model)
    assert torch.equal(weight_of(answer.content), torch.ones(1, 2))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == f'filename="model-{model}.pt"'
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert len(answer.headers["ETag"]) == 66  # a quoted sha256, not nginx' time and size
    assert "X-Accel-Redirect" not in answer.headers
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Last-Modified" not in answer.headers


def test_parts_and_unchanged_files_go_through_the_proxy(ada, model):
    whole = download(ada, model)
    tag = whole.headers["ETag"]
    part = download(ada, model, **{"Range": "bytes=2-5", "If-Range": tag})
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert part.headers["Content-Range"] == f"bytes 2-5/{len(whole.content)}"
    assert part.headers["ETag"] == tag
    other = download(ada, model, **{"Range": "bytes=2-5", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, whole.content)
    assert download(ada, model, **{"If-None-Match": tag}).status_code == 304
    assert download(ada, model, Range="bytes=99999999-").status_code == 416


def test_a_page_of_another_origin_may_read_what_the_proxy_sends(ada, model):
    answer = download(ada, model, Origin=ORIGIN)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert "origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Origin" not in download(ada, model).headers


def test_files_are_for_those_alone_whom_the_server_lets_have_them(production, ada, model):
    stored = [path for path in (production.folder / "data/models").iterdir() if path.is_file()]
    assert all(path.stat().st_mode & 0o004 for path in stored)  # the proxy is another user
    url = f"{production.url}/files/{stored[0].name}"
    assert requests.get(url, timeout=PATIENCE).status_code == 404
    assert download(Person(production.url), model).status_code == 403


def test_an_upload_larger_than_any_buffer_arrives_as_it_was(ada):
    content = scripted(2.0, inputs=4_000_000)
    assert 15_000_000 < len(content) < MAX_UPLOAD_BYTES
    answer = download(ada, ada.upload_model(content))
    assert torch.equal(weight_of(answer.content), torch.full((1, 4_000_000), 2.0))


def test_what_is_too_large_is_refused_in_json_before_it_is_sent(production):
    address = production.url.removeprefix("http://").split(":")
    head = f"POST /api/models/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**40}\r\n\r\n"
    with socket.create_connection((address[0], int(address[1])), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "Content-Type: application/json" in answer
    assert f"larger than {MAX_UPLOAD_BYTES} bytes" in answer


def test_static_files_come_from_the_proxy(production):
    answer = requests.get(f"{production.url}/static/admin/css/base.css", timeout=PATIENCE)
    assert answer.headers["Cache-Control"] == "max-age=3600"


def passes_its_health_check(production, name, **changed):
    kind, command = production.compose["services"][name]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    settings = production.settings | {"PATH": path, "HOSTNAME": socket.gethostname()} | changed
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=settings, capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize("name", ["rounds", "notify", "serving", "beat"])
def test_what_lives_passes_the_health_check_of_the_compose_file(production, name):
    wait_until(lambda: passes_its_health_check(production, name))


def test_what_is_not_there_does_not_pass(production):
    assert not passes_its_health_check(production, "rounds", HOSTNAME="elsewhere")
    data = str(production.folder / "elsewhere")
    assert not passes_its_health_check(production, "beat", FL_DATA_DIR=data)


@pytest.fixture
def pair(production):
    return Person(production.url), Person(production.url)


def test_updates_count_that_come_while_redis_is_away(production, ada, pair):
    first, second = pair
    model = ada.upload_model(scripted(0.0))
    training = ada.open_training(model, pair, 1)
    ada.start(training)
    production.redis.kill()
    try:
        first.update(model, 0, update_of(1.0), expect=201)
        second.update(model, 0, update_of(3.0), expect=201)
    finally:
        production.redis.start()
    wait_until(production.is_ready)  # a worker that was busy may have died
    finish(ada, training, model, pair)
    assert torch.equal(weight_of(download(ada, model).content), torch.full((1, 2), 2.0))


def test_a_training_goes_on_where_it_was_when_postgresql_comes_back(production, ada, pair):
    first, second = pair
    model = ada.upload_model(scripted(0.0))
    training = ada.open_training(model, pair, 1)
    ada.start(training)
    first.update(model, 0, update_of(1.0), expect=201)
    production.postgres.kill()
    try:
        answer = download(ada, model)
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/json")
    finally:
        production.postgres.start()
    for person in (ada, *pair):
        person.be_patient()  # which of its connections are dead the server has to find out
    second.update(model, 0, update_of(3.0), expect=201)
    finish(ada, training, model, pair)
    assert torch.equal(weight_of(download(ada, model).content), torch.full((1, 2), 2.0))


def finish(actor, training, model, pair):
    for person in pair:
        person.await_notification("MODEL_TEST_ROUND", 1)
        person.report(model)
    for person in pair:
        person.await_notification("TRAINING_FINISHED")
        kinds = [item["notification_type"] for item in person.seen]
        assert kinds == [
            "TRAINING_START",
            "UPDATE_ROUND_START",
            "MODEL_TEST_ROUND",
            "TRAINING_FINISHED",
        ]
    assert actor.ask("GET", f"/trainings/{training}/")["state"] == "C"
