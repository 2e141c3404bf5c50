"""The actor, who has a model and wants it trained; uses the API over HTTP like any client."""

import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter, Retry

from fl_server.demo.children import PATIENCE_SECONDS, DemoError
from fl_server.demo.progress import Progress


class Actor:
    """One user, its model and its training."""

    def __init__(self, server: str) -> None:
        self.api = f"{server}/api"
        self.session = requests.Session()
        retry = Retry(5, backoff_factor=0.2, status_forcelist=[503], allowed_methods=None)
        self.session.mount(server, HTTPAdapter(max_retries=retry))
        self.clients: dict[str, str] = {}
        """Names of the clients by their ids."""
        form = {"username": "actor", "password": secrets.token_urlsafe(), "actor": True}
        token = self.ask("POST", "/users/", json=form).json()["token"]
        self.session.headers["Authorization"] = f"Token {token}"

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Raise DemoError when there is no answer, or it is a refusal."""
        try:
            answer = self.session.request(method, self.api + path, timeout=60, **options)
        except requests.RequestException as error:
            raise DemoError(f"No answer to {method} {path}: {error}") from error
        if not answer.ok:
            raise DemoError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def wait_for_clients(self, names: Collection[str], check: Callable[[], None]) -> None:
        """Wait until users of these names have registered; `check` raises if they can't."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.clients) < len(names):
            check()
            if time.monotonic() > deadline:
                raise DemoError(f"A client didn't register within {PATIENCE_SECONDS} s.")
            time.sleep(0.3)
            users = self.ask("GET", "/users/").json()
            self.clients = {u["id"]: u["username"] for u in users if u["username"] in names}

    def start_training(self, model: Path, method: str, rounds: int, period: int) -> None:
        """Upload the model, invite the clients that have registered, and begin."""
        self.period = period
        form = {
            "name": "digits",
            "description": "Handwritten digits, 8 x 8",
            "input_shape": ["None", "1", "8", "8"],
        }
        with model.open("rb") as file:
            answer = self.ask("POST", "/models/", data=form, files={"model_file": file})
        self.model = answer.json()["model_id"]
        training = {
            "model_id": self.model,
            "target_num_updates": rounds,
            "metric_names": ["accuracy", "loss"],
            "aggregation_method": method,
            "options": {"daisy_chain_period": period} if period > 1 else {},
            "clients": list(self.clients),
        }
        self.training = self.ask("POST", "/trainings/", json=training).json()["training_id"]
        self.ask("POST", f"/trainings/{self.training}/start/")

    def progress(self) -> Progress:
        """Ask how the training stands."""
        training = self.ask("GET", f"/trainings/{self.training}/").json()
        models = self.ask("GET", f"/trainings/{self.training}/models/").json()
        current = next(model["round"] for model in models if model["id"] == self.model)
        updated = {
            self.clients[model["owner"]]
            for model in models
            if model["id"] != self.model and model["round"] == current
        }
        return Progress(
            clients=tuple(self.clients.values()),
            state=training["state"],
            reason=training["state_reason"],
            round=current,
            merging=training["locked"],
            updated=frozenset(updated),
            accuracies=self.accuracies(),
            period=self.period,
        )

    def accuracies(self) -> dict[int, dict[str, float]]:
        """Return what the clients reported, by round and client."""
        found: dict[int, dict[str, float]] = {}
        for metric in self.ask("GET", f"/models/{self.model}/metrics/").json():
            if metric["key"] == "accuracy":
                reporter = self.clients[metric["reporter"]]
                found.setdefault(metric["step"], {})[reporter] = metric["value_float"]
        return found

    def download(self, path: Path) -> None:
        """Write the model as it is now to a file."""
        path.write_bytes(self.ask("GET", f"/models/{self.model}/").content)
