"""Users of a running server, as far as tests play them: no torch, no training."""

import secrets
from dataclasses import dataclass, field
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter, Retry

from tests.waiting import PATIENCE, wait_until


class PatientAdapter(HTTPAdapter):
    """Repeats also what was answered, but not to its end; notes what was repeated at all."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        try:
            answer = super().send(request, **options)
            answer.was_repeated = bool(answer.raw.retries.history)
            answer.content  # noqa: B018 (reads it)
        except requests.exceptions.ChunkedEncodingError:
            answer = self.send(request, **options)
            answer.was_repeated = True
        return answer


@dataclass
class Person:
    """A registered user; `seen` holds the notifications fetched so far, in order."""

    url: str
    endpoint: str = ""
    name: str = ""
    session: requests.Session = field(default_factory=requests.Session)
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self):
        self.name = self.name or f"u{secrets.token_hex(6)}"
        form = {"username": self.name, "password": "secret"}
        form["message_endpoint"] = self.endpoint
        answer = self.session.post(f"{self.url}/api/users/", json=form, timeout=PATIENCE)
        answer.raise_for_status()
        self.id = answer.json()["id"]
        self.session.headers["Authorization"] = f"Token {answer.json()['token']}"

    def be_patient(self) -> Self:
        """Try again where the server can't be reached or says so, as the example client does."""
        again = Retry(
            PATIENCE,  # a second apart
            backoff_factor=0.1,
            backoff_max=1,
            status_forcelist=[502, 503],
            allowed_methods=None,
            respect_retry_after_header=False,  # tests are in more of a hurry
        )
        self.session.mount(self.url, PatientAdapter(max_retries=again))
        return self

    def ask(self, method: str, path: str, *, expect: int | None = None, **options) -> Any:
        """Return the answer's JSON, or its bytes where it is none."""
        answer = self.session.request(method, f"{self.url}/api{path}", timeout=PATIENCE, **options)
        assert answer.status_code == expect if expect else answer.ok, answer.text
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.json() if is_json else answer.content

    def fetch(self, *, wait: int = 10) -> list[dict[str, Any]]:
        """Fetch and acknowledge what has come."""
        items = self.ask("GET", "/notifications/", params={"wait": wait})
        for item in items:
            self.ask("POST", f"/notifications/{item['id']}/ack/")
        self.seen += items
        return items

    def await_notification(self, kind: str, round: int | None = None) -> dict[str, Any]:
        """Fetch until this one has come."""

        def found():
            body = [i for i in self.seen if i["notification_type"] == kind]
            return next((i for i in body if i["body"].get("round") == round), None)

        return wait_until(lambda: found() or (self.fetch() and found()))

    def upload_model(self, content: bytes, **fields) -> str:
        form = {"name": "model", "description": "for a test"} | fields
        files = {"model_file": content}
        return self.ask("POST", "/models/", data=form, files=files, expect=201)["model_id"]

    def open_training(self, model: str, people: list["Person"], rounds: int, **fields) -> str:
        form = {
            "model_id": model,
            "clients": [person.id for person in people],
            "target_num_updates": rounds,
            "metric_names": ["accuracy"],
            "aggregation_method": "FedAvg",
        }
        answer = self.ask("POST", "/trainings/", json=form | fields, expect=201)
        return answer["training_id"]

    def start(self, training: str) -> None:
        self.ask("POST", f"/trainings/{training}/start/", expect=202)

    def update(self, model: str, round: int, content: bytes, *, sample_size: int = 1, **options):
        form = {"round": round, "sample_size": sample_size}
        files = {"model_file": content}
        return self.ask("POST", f"/models/{model}/", data=form, files=files, **options)

    def report(self, model: str, value: float = 0.5) -> None:
        form = {"metric_names": ["accuracy"], "metric_values": [value]}
        self.ask("POST", f"/models/{model}/metrics/", data=form, expect=201)
