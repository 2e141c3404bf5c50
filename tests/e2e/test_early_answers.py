"""Answers that are given before a large request has been read reach clients that are sending."""

import gzip
import json
import subprocess
from http.client import HTTPConnection

import pytest
import requests
import torch

from tests.e2e.people import Person
from tests.e2e.tiny import scripted, weight_of
from tests.servers import find_binary
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

LARGE = bytes(15_000_000)
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.fixture(scope="module")
def ada(server):
    return Person(server)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/api/models?a=b", 308),
        ("PUT", "/api/groups/1", 308),
        ("POST", "/api/models/", 401),
        ("POST", "/api/groups/", 413),
        ("POST", "/api/nothing/", 413),
    ],
)
def test_a_client_that_sends_all_before_it_reads_is_answered(server, method, path, code):
    connection = HTTPConnection(server.removeprefix("http://"), timeout=PATIENCE)
    connection.request(method, path, body=LARGE, headers=FORM)
    answer = connection.getresponse()
    assert answer.status == code
    if code == 308:
        assert answer.headers["Location"] == path.replace("?", "/?") + "/" * ("?" not in path)
    answer.read()
    connection.close()


def test_who_is_redirected_may_ask_again_over_the_same_connection(server):
    connection = HTTPConnection(server.removeprefix("http://"), timeout=PATIENCE)
    for _ in range(3):
        connection.request("POST", "/api/models", body=LARGE, headers=FORM)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.will_close) == (308, False)
    connection.close()


@pytest.mark.parametrize("streamed", [False, True])
def test_an_upload_without_the_closing_slash_arrives(server, ada, tmp_path, streamed):
    content = scripted(2.0, inputs=3_000_000)
    form = {"name": "a", "description": "b"}
    request = requests.Request("POST", server, data=form, files={"model_file": ("m.pt", content)})
    prepared = request.prepare()
    (tmp_path / "body").write_bytes(prepared.body)
    headers = {"Content-Type": prepared.headers["Content-Type"]}
    with (tmp_path / "body").open("rb") as file:
        answer = ada.session.post(
            f"{server}/api/models",
            data=file if streamed else prepared.body,
            headers=headers,
            timeout=PATIENCE,
        )
    assert [step.status_code for step in answer.history] == [308]
    assert answer.status_code == 201, answer.text
    kept = ada.session.get(f"{server}/api/models/{answer.json()['model_id']}", timeout=PATIENCE)
    assert torch.equal(weight_of(kept.content), torch.full((1, 3_000_000), 2.0))


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_curl_follows_with_its_form(server, ada, tmp_path, expect):
    curl = find_binary("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    (tmp_path / "m.pt").write_bytes(scripted(2.0, inputs=3_000_000))
    command = [curl, "-sSL", "-H", expect, "-F", "name=a", "-F", "description=b"]
    command += ["-H", f"Authorization: {ada.session.headers['Authorization']}"]
    command += ["-F", f"model_file=<{tmp_path}/m.pt", f"{server}/api/models"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["detail"] == "Model Upload Accepted"


def test_an_upload_in_gzip_goes_through(server, ada):
    body = requests.Request(
        "POST",
        server,
        data={"name": "a", "description": "b"},
        files={"model_file": ("m.pt", scripted(2.0))},
    ).prepare()
    headers = {"Content-Type": body.headers["Content-Type"], "Content-Encoding": "gzip"}
    answer = ada.session.post(
        f"{server}/api/models/", data=gzip.compress(body.body), headers=headers, timeout=PATIENCE
    )
    assert answer.status_code == 201, answer.text


def test_two_slashes_are_told_in_json(server):
    url = server.replace("http://", "")
    connection = HTTPConnection(url, timeout=PATIENCE)
    connection.request("GET", "//api/users/")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
    assert "two slashes" in answer.read().decode()
    connection.close()


def test_a_host_that_is_unknown_is_told_in_json(server):
    answer = requests.get(
        f"{server}/api/users/", headers={"Host": "fl-server:80"}, timeout=PATIENCE
    )
    assert answer.status_code == 400
    assert "'fl-server' is not allowed" in answer.json()["detail"]
