"""Users of a server under measurement, cheap in what they do: they send bytes made before."""

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.serving import ROOT, Serving, die_with_parent

REGISTER = """
import sys, django
django.setup()
from django.db import transaction
from fl_server_core.models import User
for line in sys.stdin:
    with transaction.atomic():
        for word in line.split():
            name, _, endpoint = word.partition("@")
            user = User(username=name, message_endpoint=endpoint)
            user.set_unusable_password()
            user.save()
            print(user.pk, user.auth_token.key)
    print(flush=True)
"""
"""Makes users without passwords, because hashing one takes a third of a second."""

BOUNDARY = "a-line-that-no-file-has"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
PATIENCE = 600


@dataclass(frozen=True)
class User:
    """Somebody with a token."""

    id: str
    token: str

    @property
    def header(self) -> str:
        """What says who asks."""
        return f"Token {self.token}"


@dataclass(frozen=True)
class Site:
    """A server that runs, and a process that makes users for it."""

    serving: Serving
    registrar: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        """Where it is."""
        return self.serving.url

    def add_users(self, count: int, endpoint: str = "") -> list[User]:
        """Return new users; with an endpoint each is posted to at a path of its own below that."""
        stamp = time.time_ns()
        words = [
            f"user-{stamp}-{number}@{endpoint and f'{endpoint}/{number}'}"
            for number in range(count)
        ]
        print(*words, file=self.registrar.stdin, flush=True)
        lines = iter(self.registrar.stdout.readline, "\n")
        return [User(*line.split()) for line in lines]


@contextmanager
def site(serving: Serving) -> Iterator[Site]:
    """Have users made for a server."""
    settings = {"PYTHONPATH": f"{ROOT}", "DJANGO_SETTINGS_MODULE": "fl_server.settings"}
    with subprocess.Popen(
        [sys.executable, "-c", REGISTER],
        cwd=ROOT,
        env=os.environ | settings | {"FL_DATA_DIR": f"{serving.data}"} | serving.settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    ) as registrar:
        yield Site(serving, registrar)


def basic(name: str, password: str) -> str:
    """Return the header of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@dataclass(frozen=True)
class Body:
    """What is sent, with its type."""

    content: bytes
    type: str

    @classmethod
    def of_json(cls, value: Any) -> "Body":
        """Return a value as JSON."""
        return cls(json.dumps(value).encode(), "application/json")

    @classmethod
    def of_form(cls, file: bytes = b"", **fields: object) -> "Body":
        """Return a form with `model_file`, as multipart."""
        before, after = around(fields, with_file=bool(file))
        return cls(before + file + after, MULTIPART)


def around(fields: dict[str, object], *, with_file: bool) -> tuple[bytes, bytes]:
    """Return what comes before and after a file in a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    if with_file:
        parts.append(
            f"--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n"
            'Content-Disposition: form-data; name="model_file"; filename="f"\r\n\r\n'
        )
    return "".join(parts).encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


NOTHING = Body(b"", "application/json")


class Line:
    """A connection that is kept, over which users ask."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=PATIENCE
        )

    def __del__(self) -> None:
        """Close it when nobody asks any more."""
        self._connection.close()

    def ask(self, who: str, method: str, path: str, body: Body = NOTHING) -> bytes:
        """Return the answer's body; `who` is a header. Anything but a success ends the run."""
        headers = {"Authorization": who, "Content-Type": body.type}
        self._connection.request(method, path, body.content, headers)
        return self._answer(f"{method} {path}")

    def _answer(self, request: str) -> bytes:
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            sys.exit(f"{request}: {answer.status} {content[:500].decode(errors='replace')}")
        return content

    def get(self, who: User, path: str) -> Any:
        """Return an answer's JSON."""
        return json.loads(self.ask(who.header, "GET", path))

    def post(self, who: User, path: str, body: Body = NOTHING) -> Any:
        """Do the same for a POST; None where nothing is answered."""
        content = self.ask(who.header, "POST", path, body)
        return json.loads(content) if content else None

    def download(self, who: User, path: str, buffer: bytearray) -> int:
        """Read an answer into the buffer, over and over; return how many bytes it had."""
        self._connection.request("GET", path, headers={"Authorization": who.header})
        answer, total = self._connection.getresponse(), 0
        if answer.status != http.HTTPStatus.OK:
            sys.exit(f"GET {path}: {answer.status}")
        while count := answer.readinto(buffer):
            total += count
        return total

    def upload_file(self, who: User, path: str, file: Path, **fields: object) -> Any:
        """Post a form with a file that is too large for the memory; return the answer's JSON."""
        before, after = around(fields, with_file=True)
        self._connection.putrequest("POST", path)
        self._connection.putheader("Authorization", who.header)
        self._connection.putheader("Content-Type", MULTIPART)
        length = len(before) + file.stat().st_size + len(after)
        self._connection.putheader("Content-Length", f"{length}")
        self._connection.endheaders(before)
        with file.open("rb") as content:
            self._connection.sock.sendfile(content)
        self._connection.send(after)
        return json.loads(self._answer(f"POST {path}"))

    def upload_model(self, actor: User, file: bytes) -> str:
        """Return the new model's id."""
        form = Body.of_form(file, name="model", description="of a benchmark")
        return self.post(actor, "/api/models/", form)["model_id"]

    def open_training(self, actor: User, model: str, people: list[User], rounds: int) -> str:
        """Return the new training's id."""
        form = {
            "model_id": model,
            "clients": [one.id for one in people],
            "target_num_updates": rounds,
            "metric_names": ["accuracy"],
            "aggregation_method": "FedAvg",
        }
        return self.post(actor, "/api/trainings/", Body.of_json(form))["training_id"]

    def start(self, actor: User, training: str) -> None:
        """Start a training."""
        self.post(actor, f"/api/trainings/{training}/start/")

    def await_message(self, who: User, kind: str) -> float:
        """Fetch and acknowledge messages until this one is there; return when it came."""
        items: list[dict[str, str]] = []
        while kind not in {item["notification_type"] for item in items}:
            items = self.get(who, "/api/notifications/?wait=30")
            came = time.monotonic()
            for item in items:
                self.post(who, f"/api/notifications/{item['id']}/ack/")
        return came


METRICS = Body.of_form(metric_names="accuracy", metric_values="0.5")


def update_form(file: bytes, round_number: int) -> Body:
    """Return the form with an update."""
    return Body.of_form(file, round=round_number, sample_size=1)


def wait_until(condition: Callable[[], Any], pause: float = 0.01) -> Any:
    """Return the first true value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            sys.exit(f"Nothing came within {PATIENCE} s.")
        time.sleep(pause)
    return value
