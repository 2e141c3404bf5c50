"""An MLflow to tell things to, and what it has been told.

`FL_TESTS_MLFLOW` names a real one by its URL, which the same tests then speak to. Without it a
stand-in answers as MLflow 3.17 did with a database behind it: what it takes, what it refuses and
by which code, and that a point which comes twice is one.
"""

import json
import os
import posixpath
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Self

import requests

REAL = os.environ.get("FL_TESTS_MLFLOW", "")
NAME = re.compile(r"[/\w.\-: ]*")
SEARCH = re.compile(r"tags\.`([^`]+)` = '([^']*)'")


class Refusal(Exception):
    def __init__(self, status, code, message=""):
        self.answer = status, {"error_code": code, "message": message}


def invalid(message):
    return Refusal(400, "INVALID_PARAMETER_VALUE", message)


class StandIn:
    """What MLflow keeps. `answer` may be replaced to have it fail."""

    def __init__(self):
        self.experiments, self.runs, self.files = {}, {}, {}
        self.requests = count()

    def answer(self, method, path, query, headers, body):
        """Return status and answer to a request."""
        next(self.requests)
        artifacts = "/api/2.0/mlflow-artifacts/artifacts/"
        if path.startswith(artifacts):
            name = requests.utils.unquote(path.removeprefix(artifacts))
            return self._keep(name, body) if method == "PUT" else (200, self.files[name])
        if len(body) > 1_000_000:
            raise invalid("too long a batch")
        name = path.removeprefix("/api/2.0/mlflow/").replace("/", "_").replace("-", "_")
        asked = json.loads(body) if body else query
        return 200, getattr(self, name)(**asked)

    def experiments_search(self, max_results):
        return {"experiments": list(self.experiments.values())[:max_results]}

    def experiments_create(self, name):
        if name in self.experiments:
            raise Refusal(400, "RESOURCE_ALREADY_EXISTS")
        number = str(len(self.experiments) + 1)
        self.experiments[name] = {"experiment_id": number, "name": name}
        return {"experiment_id": number}

    def experiments_get_by_name(self, experiment_name):
        if experiment_name not in self.experiments:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST", "Could not find experiment")
        return {"experiment": self.experiments[experiment_name]}

    def runs_create(self, experiment_id, run_name, user_id, start_time, tags):
        run = uuid.uuid4().hex
        info = {"run_id": run, "experiment_id": experiment_id, "run_name": run_name}
        info |= {"status": "RUNNING", "start_time": start_time, "lifecycle_stage": "active"}
        info["artifact_uri"] = f"mlflow-artifacts:/{experiment_id}/{run}/artifacts"
        self.runs[run] = {"info": info, "params": {}, "tags": {}, "points": {}}
        self.runs_log_batch(run, tags=[*tags, {"key": "mlflow.runName", "value": run_name}])
        return {"run": self._shown(run)}

    def runs_search(self, experiment_ids, max_results, filter=""):
        key, value = SEARCH.fullmatch(filter).groups() if filter else (None, None)
        found = [
            run
            for run, kept in self.runs.items()
            if kept["info"]["experiment_id"] in experiment_ids
            and kept["info"]["lifecycle_stage"] == "active"
            and kept["tags"].get(key) == value
        ]
        return {"runs": [self._shown(run) for run in found[:max_results]]} if found else {}

    def runs_get(self, run_id):
        self._kept(run_id)
        return {"run": self._shown(run_id)}

    def runs_delete(self, run_id):
        self._kept(run_id)["info"]["lifecycle_stage"] = "deleted"
        return {}

    def runs_update(self, run_id, status, end_time=None):
        info = self._active(run_id)["info"]
        info |= {"status": status} | ({"end_time": end_time} if end_time else {})
        return {"run_info": info}

    def runs_log_batch(self, run_id, metrics=(), params=(), tags=()):
        run = self._active(run_id)
        if len(metrics) > 1000 or len(params) > 100 or len(tags) > 100:
            raise invalid("A batch logging request can contain at most 1000 metrics.")
        for item in (*metrics, *params, *tags):
            self._check(item["key"])
        for item in params:
            if run["params"].get(item["key"], item["value"]) != item["value"]:
                raise invalid("Changing param values is not allowed.")
        run["params"] |= {item["key"]: item["value"][:6000] for item in params}
        run["tags"] |= {item["key"]: item["value"] for item in tags}
        for point in metrics:
            key = point["key"], point["step"], point["timestamp"], point["value"]
            run["points"][key] = point
        return {}

    def metrics_get_history(self, run_id, metric_key):
        points = self._kept(run_id)["points"].values()
        return {"metrics": [point for point in points if point["key"] == metric_key]}

    def _keep(self, name, body):
        self.files[name] = body
        return 200, {}

    def _kept(self, run):
        if run not in self.runs:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={run} not found")
        return self.runs[run]

    def _active(self, run):
        kept = self._kept(run)
        if kept["info"]["lifecycle_stage"] != "active":
            raise invalid(f"The run {run} must be in the 'active' state.")
        return kept

    def _check(self, name):
        norm = posixpath.normpath(name)
        ambiguous = norm != name or norm == "." or norm.startswith(("..", "/"))
        if not NAME.fullmatch(name) or ambiguous or len(name) > 250:
            raise invalid(f"Invalid value {name!r}: Names may only contain alphanumerics, …")

    def _shown(self, run):
        kept = self.runs[run]
        pairs = {
            kind: [{"key": key, "value": value} for key, value in kept[kind].items()]
            for kind in ("params", "tags")
        }
        last = {}
        for point in kept["points"].values():
            order = (point["step"], point["timestamp"], point["value"])
            last[point["key"]] = max(last.get(point["key"], ()), order)
        metrics = [{"key": key, "value": order[2]} for key, order in last.items()]
        return {"info": kept["info"], "data": pairs | {"metrics": metrics}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout, wbufsize, disable_nagle_algorithm = 60, 1 << 16, True

    def do_GET(self):
        path, _, query = self.path.partition("?")
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        asked = {key: requests.utils.unquote(value).replace("+", " ") for key, _, value in pairs}
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        try:
            asked = self.command, path, asked, self.headers, body
            status, told = self.server.standin.answer(*asked)
        except Refusal as refusal:
            status, told = refusal.answer
        if status is None:
            self.close_connection = True
            return
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@contextmanager
def standing_in(port: int = 0) -> Iterator[tuple[str, StandIn]]:
    """Yield the URL of a stand-in, and what it keeps; no thread outlives it."""
    standin = StandIn()
    with ThreadingHTTPServer(("127.0.0.1", port), _Handler) as server:
        server.standin, server.daemon_threads = standin, False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", standin
        finally:
            server.shutdown()
            thread.join()


class Told:
    """What an MLflow, real or not, has been told about an experiment."""

    def __init__(self, url: str, experiment: str) -> None:
        self.url, self.experiment = url, experiment
        self.session = requests.Session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def ask(self, method, path, **kwargs):
        return self._get(method, f"mlflow/{path}", **kwargs).json()

    def file(self, name: str) -> bytes:
        """Return a file that was kept with the only run."""
        path = self.run()["artifact_uri"].removeprefix("mlflow-artifacts:/")
        return self._get("GET", f"mlflow-artifacts/artifacts/{path}/{name}").content

    def _get(self, method, path, **kwargs):
        answer = self.session.request(method, f"{self.url}/api/2.0/{path}", **kwargs)
        answer.raise_for_status()
        return answer

    def runs(self) -> list[dict]:
        """Return its runs: info, params and tags."""
        asked = {"experiment_name": self.experiment}
        number = self.ask("GET", "experiments/get-by-name", params=asked)["experiment"]
        found = {"experiment_ids": [number["experiment_id"]], "max_results": 100}
        return [
            run["info"]
            | {
                kind: {pair["key"]: pair["value"] for pair in run["data"].get(kind, [])}
                for kind in ("params", "tags", "metrics")
            }
            for run in self.ask("POST", "runs/search", json=found).get("runs", [])
        ]

    def run(self) -> dict:
        """Return its only run."""
        [run] = self.runs()
        return run

    def points(self) -> dict[str, list[tuple[int, float]]]:
        """Return all points of the only run, by metric: steps and values, in the order of time."""
        run = self.run()
        return {name: self._history(run["run_id"], name) for name in run["metrics"]}

    def _history(self, run, name):
        asked = {"run_id": run, "metric_key": name}
        points = self.ask("GET", "metrics/get-history", params=asked)["metrics"]
        points.sort(key=lambda point: (point["timestamp"], point["step"]))
        return [(int(point["step"]), point["value"]) for point in points]
