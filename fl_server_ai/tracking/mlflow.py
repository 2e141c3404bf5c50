"""MLflow, by its REST API 2.0 (https://mlflow.org/docs/latest/rest-api.html).

Not by its own client: `mlflow-skinny` brings 40 packages and 140 MB, some of which serve and report
usage, for the six calls here, which haven't changed since 2019.

A point that is told twice is one: MLflow's databases have name, step, time and value as the key. A
run is found again by a tag that it gets as it is made. Names may hold letters, digits and `_-. /`;
others change (`_name`).
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

import requests
from django.conf import settings
from requests.auth import AuthBase, HTTPBasicAuth

from fl_server_ai.tracking.tracker import Point, Run, RunState, Tracker, TrackerError

T = TypeVar("T")

SECONDS = (3.0, 10.0)
"""To connect, and to wait for the next bytes."""
FILE_SECONDS = (3.0, 120.0)

POINTS, PAIRS = 500, 100
"""In one request, which may have 1 MB."""
LONGEST = 250
LONGEST_VALUE = 500
"""Of older servers; newer ones take more."""

KEY = "fl.training"
UNKNOWN = "RESOURCE_DOES_NOT_EXIST"
PROXIED = "mlflow-artifacts"
NOT_ALLOWED = re.compile(r"[^\w\-. /]")


class Refused(TrackerError):
    """MLflow answered with an error, of this code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(" ".join(filter(None, [f"HTTP {status}", code, message])))
        self.code = code


class Bearer(AuthBase):
    """Sends a token, whatever ~/.netrc says."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:  # noqa: D102
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class MLflow(Tracker):
    """An MLflow server. Its runs are in the experiment that FL_MLFLOW_EXPERIMENT names."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self.takes_files = settings.FL_MLFLOW_MODELS
        self._session = requests.Session()
        self._session.auth = _credentials()

    def open(self, run: Run) -> str:
        """Find or make the run, and say what it is about."""
        experiment = self._experiment()
        run_id = self._find(experiment, run.key) or self._make(experiment, run)
        for some in _batches(run.parameters.items(), PAIRS):
            self._post("runs/log-batch", run_id=run_id, params=_pairs(dict(some)))
        return run_id

    def log(self, run: str, points: Iterable[Point], tags: Mapping[str, str]) -> None:
        """Add the points some at a time; then the tags."""
        for some in _batches(points, POINTS):
            self._post("runs/log-batch", run_id=run, metrics=[_metric(point) for point in some])
        for pairs in _batches(tags.items(), PAIRS):
            self._post("runs/log-batch", run_id=run, tags=_pairs(dict(pairs)))

    def keep(self, run: str, name: str, file: BinaryIO) -> None:
        """Send the file by way of MLflow, which serves its artifacts unless it is told not to."""
        info = self._call("GET", "runs/get", params={"run_id": run})["run"]["info"]
        uri = urlsplit(info["artifact_uri"])
        if uri.scheme != PROXIED:
            raise TrackerError("MLflow takes no files itself: unset FL_MLFLOW_MODELS.")
        path = quote(posixpath.join(uri.path.lstrip("/"), name))
        self._send("PUT", f"{PROXIED}/artifacts/{path}", data=file, timeout=FILE_SECONDS)

    def mark(self, run: str, state: RunState, reason: str, at: datetime | None) -> None:
        """Set the run's status."""
        ended = {"end_time": _milliseconds(at)} if at else {}
        self._post("runs/log-batch", run_id=run, tags=_pairs({"fl.reason": reason}))
        self._post("runs/update", run_id=run, status=state.name, **ended)

    def check(self) -> str:
        """Ask for an experiment."""
        self._post("experiments/search", max_results=1)
        return f"MLflow at {urlsplit(self._address).hostname}"

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    def _experiment(self) -> str:
        name = settings.FL_MLFLOW_EXPERIMENT
        asked = {"experiment_name": name}
        try:
            found = self._call("GET", "experiments/get-by-name", params=asked)["experiment"]
        except Refused as error:
            if error.code != UNKNOWN:
                raise
            found = self._post("experiments/create", name=name)
        return str(found["experiment_id"])

    def _find(self, experiment: str, key: str) -> str | None:
        found = self._post(
            "runs/search",
            experiment_ids=[experiment],
            filter=f"tags.`{KEY}` = '{key}'",
            max_results=1,
        )
        return next((str(run["info"]["run_id"]) for run in found.get("runs", [])), None)

    def _make(self, experiment: str, run: Run) -> str:
        tags = {
            **run.tags,
            KEY: run.key,
            "mlflow.user": run.user,
            "mlflow.source.name": "fl-server",
            "mlflow.source.type": "PROJECT",
        }
        made = self._post(
            "runs/create",
            experiment_id=experiment,
            run_name=run.name,
            user_id=run.user,
            start_time=_milliseconds(run.started_at),
            tags=_pairs(tags),
        )
        return str(made["run"]["info"]["run_id"])

    def _post(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, json=body)

    def _call(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self._send(method, f"mlflow/{path}", **kwargs)
        try:
            return answer.json()
        except ValueError as error:
            raise TrackerError("What answers isn't MLflow.") from error

    def _send(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        url, kwargs = f"{self._address}/api/2.0/{path}", {"timeout": SECONDS, **kwargs}
        try:
            answer = self._session.request(method, url, allow_redirects=False, **kwargs)
        except requests.RequestException as error:  # its words may hold a password
            raise TrackerError(f"No answer: {type(error).__name__}.") from error
        if answer.status_code != requests.codes.ok:
            raise _refusal(answer)
        return answer


def _credentials() -> AuthBase | None:
    """Return the same that MLflow's own client would send."""
    name, password = settings.MLFLOW_TRACKING_USERNAME, settings.MLFLOW_TRACKING_PASSWORD
    if name and password:
        return HTTPBasicAuth(name.encode(), password.encode())
    token = settings.MLFLOW_TRACKING_TOKEN
    return Bearer(token) if token else None


def _refusal(answer: requests.Response) -> Refused:
    try:
        told = answer.json()
        return Refused(answer.status_code, told["error_code"], str(told.get("message"))[:200])
    except (ValueError, KeyError, TypeError):
        return Refused(answer.status_code, "", answer.reason)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    return iter(lambda: list(islice(rest, size)), [])


def _metric(point: Point) -> dict[str, Any]:
    return {
        "key": _name(point.name),
        "value": point.value,
        "timestamp": _milliseconds(point.time),
        "step": point.step,
    }


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": _name(key), "value": text[:LONGEST_VALUE]} for key, text in values.items()]


def _name(name: str) -> str:
    """Return a name that MLflow takes; a changed one gets a mark, so that no two become one."""
    parts = (part for part in NOT_ALLOWED.sub("_", name).split("/") if part.strip(". "))
    allowed = "/".join(parts)
    if allowed == name and len(name) <= LONGEST:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{allowed[: LONGEST - 9]}-{mark}".lstrip("/")


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
