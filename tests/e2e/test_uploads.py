"""Uploads over links that drop and to servers that die, by clients that others have written."""

import io
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import torch
from safetensors.torch import save
from tusclient.client import TusClient
from tusclient.uploader import Uploader

from tests.e2e.conftest import ROOT
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, weight_of
from tests.servers import free_port
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e

INPUTS = 1_000_000  # four megabytes
KIND = "application/offset+octet-stream"


@pytest.fixture(scope="module")
def model():
    return scripted(0.0, INPUTS)


def update_of(weight):
    return save({"weight": torch.full((1, INPUTS), weight)})


def ask(person, method, path="/uploads/", expect=None, content=None, **headers):
    told = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    url = f"{person.url}/api{path}"
    told = {"Tus-Resumable": "1.0.0", "Content-Type": KIND} | told
    answer = person.session.request(method, url, data=content, headers=told, timeout=PATIENCE)
    assert answer.status_code == expect if expect else answer.ok, answer.text
    return answer


def begin(person, length):
    """Return a new upload's path."""
    answer = ask(person, "POST", expect=201, upload_length=length)
    return answer.headers["Location"].removeprefix("/api")


def offset_of(person, path):
    return int(ask(person, "HEAD", path).headers["Upload-Offset"])


def id_of(path):
    return path.rstrip("/").rsplit("/", 1)[1]


@contextmanager
def sending(person, path, content, part, offset=0):
    """Send a part of what is left over a connection of its own, and leave that open."""
    address = urlsplit(person.url)
    head = f"PATCH /api{path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
    head += f"Authorization: {person.session.headers['Authorization']}\r\n"
    head += f"Content-Type: {KIND}\r\nUpload-Offset: {offset}\r\n"
    head += f"Content-Length: {len(content) - offset}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + content[offset : offset + part])
        yield connection


def hand_in(person, path):
    """Make a model of what was uploaded."""
    form = {"name": "m", "description": "d", "model_file_upload": id_of(path)}
    return person.ask("POST", "/models/", json=form, expect=201)["model_id"]


@pytest.fixture
def arrived(request, server):
    """A function: how many bytes of an upload have come to the server's disk."""
    embedded = request.node.callspec.params["server"] == "embedded"
    running = request.getfixturevalue("embedded_serve" if embedded else "production")
    folder = running.folder / ("var" if embedded else "data") / "models" / "uploads"
    return lambda path: (folder / id_of(path)).stat().st_size


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_what_came_before_the_link_dropped_counts(server, model, arrived, end):
    person, part = Person(server), len(model) // 2
    path = begin(person, len(model))
    with sending(person, path, model, part) as connection:
        # Of the last bytes some may be in nobody's hands when the link drops.
        wait_until(lambda: arrived(path) >= part - (1 << 16))
        if end == "reset":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    there = wait_until(lambda: (n := offset_of(person, path)) >= part - (1 << 16) and n)
    assert there <= part
    rest = wait_until(lambda: go_on(person, path, model))
    assert rest == len(model)
    content = person.ask("GET", f"/models/{hand_in(person, path)}/")
    assert torch.equal(weight_of(content), torch.zeros(1, INPUTS))


def go_on(person, path, content):
    """Send the rest, unless the part before is being read still; return the new offset."""
    offset = offset_of(person, path)
    told = {"Tus-Resumable": "1.0.0", "Content-Type": KIND, "Upload-Offset": str(offset)}
    url = f"{person.url}/api{path}"
    answer = person.session.patch(url, content[offset:], headers=told, timeout=PATIENCE)
    assert answer.status_code in (204, 409, 423)
    return int(answer.headers["Upload-Offset"]) if answer.ok else None


def test_of_two_parts_at_once_one_comes(server, model, arrived):
    person = Person(server)
    path = begin(person, len(model))
    with sending(person, path, model, 1 << 20) as connection:
        wait_until(lambda: arrived(path))  # before that the other could be the first
        assert is_locked(person, path)
        connection.sendall(model[1 << 20 :])
        assert connection.recv(1000).startswith(b"HTTP/1.1 204 ")
    assert offset_of(person, path) == len(model)
    assert hand_in(person, path)


def is_locked(person, path):
    url, told = f"{person.url}/api{path}", {"Tus-Resumable": "1.0.0", "Content-Type": KIND}
    answer = person.session.patch(url, b"", headers=told | {"Upload-Offset": "0"}, timeout=PATIENCE)
    return answer.status_code == 423


# --- Clients that others have written ------------------------------------------------------


def tuspy(person, content, url=None):
    """Return what sends this content, by the mebibyte; from where it was left if there's a URL."""
    headers = {"Authorization": person.session.headers["Authorization"]}
    client = TusClient(f"{person.url}/api/uploads/", headers=headers)
    options = {"chunk_size": 1 << 20, "upload_checksum": True, "metadata": {"filename": "m.pt"}}
    return Uploader(file_stream=io.BytesIO(content), url=url, client=client, **options)


def test_tuspy_sends_a_file_and_resumes_it(server, model):
    person = Person(server)
    first = tuspy(person, model)
    first.upload(stop_at=len(model) // 2)
    second = tuspy(person, model, first.url)
    assert second.offset == len(model) // 2
    second.upload()
    assert hand_in(person, second.url)


@pytest.fixture(scope="module")
def tus_js(tmp_path_factory):
    """A folder with tus-js-client and what uploads by it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    folder = tmp_path_factory.mktemp("tus") / "client"
    shutil.copytree(Path(__file__).parent / "tus", folder)
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True)
    return folder


def test_tus_js_client_sends_a_file_and_resumes_it(server, model, tus_js, tmp_path):
    person = Person(server)
    (file := tmp_path / "model.pt").write_bytes(model)
    token = person.session.headers["Authorization"].removeprefix("Token ")
    command = ["node", "upload.mjs", f"{person.url}/api/uploads/", token, str(file)]
    done = subprocess.run(command, cwd=tus_js, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hand_in(person, done.stdout.strip())


# --- A server that dies ----------------------------------------------------------------


@contextmanager
def serve(folder, port):
    """Start a server; at the end kill each of its processes without notice."""
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "var")], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: is_up(port))
        yield
    finally:
        for pid in [process.pid, *descendants(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(timeout=PATIENCE)
        wait_until(lambda: not is_up(port))


def is_up(port):
    with suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}/health/ready/", timeout=PATIENCE).ok
    return False


def descendants(pid):
    """Return the ids of all processes that one has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, children) for each in (child, *descendants(child))]


def test_an_upload_outlives_every_process(model, tmp_path):
    port = free_port()
    with serve(tmp_path, port):
        actor, participant = (Person(f"http://127.0.0.1:{port}") for _ in range(2))
        path = begin(actor, len(model))
        with sending(actor, path, model, 2 << 20) as connection:
            time.sleep(3)
            connection.sendall(model[2 << 20 : 3 << 20])  # has it look at the clock
            wait_until(lambda: offset_of(actor, path))
    with serve(tmp_path, port):
        for person in (actor, participant):
            person.session.close()
        there = offset_of(actor, path)
        assert 2 << 20 <= there <= 3 << 20
        ask(actor, "PATCH", path, 204, model[there:], upload_offset=there)
        global_model = hand_in(actor, path)
        training = actor.open_training(global_model, [participant], 1)
        actor.start(training)
        participant.await_notification("UPDATE_ROUND_START", 0)
        uploader = tuspy(participant, update_of(1.0))
        uploader.upload(stop_at=1 << 20)
    with serve(tmp_path, port):
        participant.session.close()
        uploader.upload()
        form = {"round": 0, "sample_size": 1, "model_file_upload": id_of(uploader.url)}
        participant.ask("POST", f"/models/{global_model}/", data=form, expect=201)
        participant.await_notification("MODEL_TEST_ROUND", 1)
        merged = weight_of(participant.ask("GET", f"/models/{global_model}/"))
        assert torch.equal(merged, torch.ones(1, INPUTS))
