"""A training's metrics in the form that is asked for."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.http import StreamingHttpResponse

from fl_server_ai.tracking import table, tensorboard
from fl_server_ai.tracking.table import Row, Value
from fl_server_api.renderers import CSVRenderer, TensorBoardRenderer
from fl_server_api.tables import csv_lines, in_pieces, json_lines, streamed
from fl_server_core.models import Training

LONG = (
    "round",
    "attempt",
    "participant",
    "participant_id",
    "metric",
    "value",
    "value_binary",
    "time",
)
WIDE = ("round", "attempt", "participant", "participant_id", "time")


def send_metrics(training: Training, form: str, shape: str) -> StreamingHttpResponse:
    """Answer with a training's metrics; `form` is a renderer's, `shape` is long or wide."""
    send: dict[str, Callable[[Training, str], StreamingHttpResponse]] = {
        CSVRenderer.format: _send_csv,
        TensorBoardRenderer.format: _send_events,
    }
    return send.get(form, _send_json)(training, shape)


def _send_csv(training: Training, shape: str) -> StreamingHttpResponse:
    lines = csv_lines(*(_wide(training) if shape == "wide" else _long(training)))
    name = f"training-{training.pk}-metrics.csv"
    return streamed(in_pieces(lines), f"{CSVRenderer.media_type}; charset=utf-8", name)


def _send_json(training: Training, shape: str) -> StreamingHttpResponse:
    if shape == "wide":
        lines = json_lines({**_about(row), "metrics": row.metrics} for row in table.wide(training))
    else:
        columns, rows = _long(training)
        lines = json_lines(dict(zip(columns, row, strict=True)) for row in rows)
    return streamed(in_pieces(lines), "application/json")


def _send_events(training: Training, shape: str) -> StreamingHttpResponse:  # noqa: ARG001
    name = f"training-{training.pk}-events.zip"
    return streamed(tensorboard.zipped(training), TensorBoardRenderer.media_type, name)


def _long(training: Training) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    return LONG, (_cells(value) for value in table.long(training))


def _cells(value: Value) -> Sequence[Any]:
    cells = [getattr(value, name) for name in LONG]
    if value.value_binary is not None:
        cells[LONG.index("value_binary")] = b64encode(value.value_binary).decode()
    return cells


def _wide(training: Training) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    names = table.metric_names(training)
    rows = (
        [*_about(row).values(), *(row.metrics.get(name) for name in names)]
        for row in table.wide(training)
    )
    return [*WIDE, *names], rows


def _about(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in WIDE}
