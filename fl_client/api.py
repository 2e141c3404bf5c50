"""All that is said to the server: a method for each request, in the words of its API."""

from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fl_client import transfers
from fl_client.transfers import Fetched
from fl_client.transport import Transport, retry_after

Json = dict[str, Any]

IN_ONE_PIECE = 8 << 20
"""Bytes of the largest files that are sent in one request; larger ones go on after a cut link."""

LONGEST_QUERY = 3000
"""Characters; the first line of a request may have 4,094 bytes."""

UNHURRIED = (10, 600)
"""Seconds to connect, and for the answer to a file, which the server reads before it answers."""

BYTES = {"Content-Type": "application/octet-stream"}


class Api:
    """The server's API, as one user speaks to it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._ask = transport.ask

    # --- Users ----------------------------------------------------------------------

    def register(self, name: str, password: str, **details: Any) -> Json:
        """Return the new user, with its token."""
        form = {"username": name, "password": password} | details
        return self._json("POST", "/users/", json=form, once=True)

    def myself(self) -> Json:
        """Return the user who asks."""
        return self._json("GET", "/users/myself/")

    def user(self, user: str) -> Json:
        """Return a user; oneself with the token."""
        return self._json("GET", f"/users/{user}/")

    def change_myself(self, **details: Any) -> Json:
        """Change an endpoint, say, and return the user."""
        return self._json("PATCH", "/users/myself/", json=details)

    def renew_token(self) -> str:
        """Return a new token; the old one ends."""
        return str(self._json("POST", "/users/myself/token/", once=True)["token"])

    def users(self) -> list[Json]:
        """Return everybody."""
        return self._list("/users/")

    # --- What is to be done ---------------------------------------------------------

    def notifications(self, wait: float = 25) -> tuple[list[Json], float]:
        """Return what is to be done, oldest first, and how long to pause before asking again."""
        answer = self._ask("GET", "/api/notifications/", params={"wait": wait})
        return answer.json(), retry_after(answer)

    def acknowledge(self, notification: str) -> None:
        """Have a notification listed no more."""
        self._ask("POST", f"/api/notifications/{notification}/ack/")

    # --- Models ---------------------------------------------------------------------

    def models(self) -> list[Json]:
        """Return one's own models, and those of one's trainings."""
        return self._list("/models/")

    def metadata(self, model: str) -> Json:
        """Describe a model."""
        return self._json("GET", f"/models/{model}/metadata/")

    def upload_model(
        self, file: Path, name: str, description: str, input_shape: Sequence[int | None] = ()
    ) -> str:
        """Return the new model's id."""
        fields: Json = {"name": name, "description": description}
        if input_shape:
            fields["input_shape"] = ["null" if size is None else size for size in input_shape]
        return str(self._send_file("/models/", fields, file, once=True)["model_id"])

    def upload_serving(self, model: str, file: Path) -> None:
        """Give weights alone the code that the server predicts with."""
        self._ask_with_files(f"/models/{model}/serving/", {}, {"serving_file": file})

    def download_model(
        self, model: str, target: Path, *, part: str = "", dtype: str = ""
    ) -> Fetched:
        """Fetch a model, or the part that its training exchanges, unless it is there already."""
        params = {key: value for key, value in {"part": part, "dtype": dtype}.items() if value}
        return transfers.download(self.transport, f"/api/models/{model}/", target, params)

    def remove_model(self, model: str) -> None:
        """Remove a model, and with it its training."""
        self._ask("DELETE", f"/api/models/{model}/")

    def send_update(
        self,
        model: str,
        file: Path,
        *,
        round: int,
        sample_size: int,
        base: str = "",
        encoding: str = "state",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Hand in what was trained; `base` is the tag of the version that was downloaded."""
        fields: Json = {"round": round, "sample_size": sample_size, "encoding": encoding}
        if base:
            fields["base"] = base
        self._send_file(f"/models/{model}/", fields | _metrics(metrics or {}), file)

    def send_moments(
        self, model: str, first: Path, second: Path, *, round: int, sample_size: int
    ) -> None:
        """Hand in the means of the weights and of their squares."""
        fields: Json = {"round": round, "sample_size": sample_size}
        files = {"first_moment_file": first, "second_moment_file": second}
        self._ask_with_files(f"/models/{model}/swag/", fields, files)

    def report_metrics(self, model: str, metrics: Mapping[str, float]) -> None:
        """Say how good a model is on one's own samples."""
        self._ask("POST", f"/api/models/{model}/metrics/", json=_metrics(metrics))

    def metrics(self, model: str) -> list[Json]:
        """Return what has been reported of a model, in all its rounds."""
        return self._list(f"/models/{model}/metrics/")

    def checkpoints(self, model: str) -> list[Json]:
        """Return a model's versions, oldest first."""
        return self._list(f"/models/{model}/checkpoints/")

    def download_checkpoint(self, model: str, checkpoint: str, target: Path) -> Fetched:
        """Fetch one of a model's versions."""
        path = f"/api/models/{model}/checkpoints/{checkpoint}/"
        return transfers.download(self.transport, path, target)

    def predict(self, model: str, file: Path) -> Json:
        """Ask a model about a picture, or another input in a file."""
        form = {"model_id": model, "return_format": "json"}
        files = {"model_input": file.read_bytes()}
        return self._json("POST", "/inference/", data=form, files=files, once=True)

    # --- Trainings ------------------------------------------------------------------

    def trainings(self) -> list[Json]:
        """Return the trainings that one runs or takes part in, oldest first."""
        return self._list("/users/trainings/")

    def training(self, training: str) -> Json:
        """Return a training, and how far its round is."""
        return self._json("GET", f"/trainings/{training}/")

    def create_training(
        self,
        model: str,
        clients: Collection[str],
        *,
        rounds: int,
        method: str = "FedAvg",
        uncertainty: str = "NONE",
        metric_names: Sequence[str] = ("accuracy", "loss"),
        options: Mapping[str, Any] | None = None,
    ) -> Json:
        """Return the new training's `training_id`, and which options mean nothing to the server."""
        plan = {
            "model_id": model,
            "clients": list(clients),
            "target_num_updates": rounds,
            "metric_names": list(metric_names),
            "aggregation_method": method,
            "uncertainty_method": uncertainty,
            "options": dict(options or {}),
        }
        return self._json("POST", "/trainings/", json=plan, once=True)

    def steer(self, training: str, order: str, **body: Any) -> Json:
        """Give one of the orders `start`, `stop`, `resume`, `rollback` and `notify`."""
        return self._json("POST", f"/trainings/{training}/{order}/", json=body, once=True)

    def add_clients(self, training: str, clients: Collection[str]) -> None:
        """Let users take part."""
        self._ask("PUT", f"/api/trainings/{training}/clients/", json={"clients": list(clients)})

    def remove_clients(self, training: str, clients: Collection[str]) -> None:
        """Take users out."""
        self._ask("DELETE", f"/api/trainings/{training}/clients/", json={"clients": list(clients)})

    def remove_training(self, training: str) -> None:
        """Remove a training; its model stays."""
        self._ask("DELETE", f"/api/trainings/{training}/")

    def record(self, training: str) -> Json:
        """Return who made what, signed."""
        return self._json("GET", f"/trainings/{training}/record/")

    # --- How they are said ----------------------------------------------------------

    def _json(self, method: str, path: str, **options: Any) -> Json:
        answer: Json = self._ask(method, f"/api{path}", **options).json()
        return answer

    def _list(self, path: str) -> list[Json]:
        answer: list[Json] = self._ask("GET", f"/api{path}").json()
        return answer

    def _send_file(self, path: str, fields: Json, file: Path, *, once: bool = False) -> Json:
        """Send a model's file: as the whole body beside a query, or in parts if it is large."""
        how: Json = {"once": once, "timeout": UNHURRIED}
        query = urlencode(fields, doseq=True)
        if file.stat().st_size > IN_ONE_PIECE or len(query) > LONGEST_QUERY:
            body = fields | {"model_file_upload": transfers.upload(self.transport, file)}
            return self._json("POST", path, json=body, **how)
        content = file.read_bytes()
        return self._json("POST", f"{path}?{query}", data=content, headers=BYTES, **how)

    def _ask_with_files(self, path: str, fields: Json, files: Mapping[str, Path]) -> None:
        """Send files in a form, or in parts if they are large."""
        if max(file.stat().st_size for file in files.values()) <= IN_ONE_PIECE:
            sent = {name: file.read_bytes() for name, file in files.items()}
            self._ask("POST", f"/api{path}", data=fields, files=sent, timeout=UNHURRIED)
            return
        ids = {f"{n}_upload": transfers.upload(self.transport, file) for n, file in files.items()}
        self._ask("POST", f"/api{path}", json=fields | ids, timeout=UNHURRIED)


def _metrics(metrics: Mapping[str, float]) -> Json:
    if not metrics:
        return {}
    values = [float(value) for value in metrics.values()]
    shown = [value if isfinite(value) else str(value) for value in values]  # JSON has no NaN
    return {"metric_names": list(metrics), "metric_values": shown}
