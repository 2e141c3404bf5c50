"""What is in a model, as its page lists it: layers, or tensors where there is no code.

A summary comes from a process that has run the model: nothing in it needs to be what it should.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fl_server_ai.inference.stats import tensor_stats, want_stats
from fl_server_core.exceptions import NotFound
from fl_server_core.models import Model

MOST = 100
DEEPEST = 6
LONGEST = 100

NO_FILE = "It has no file of its own: its members have."
NO_SHAPE = "Its input shape isn't known, so that nobody can tell what its layers would be given."
NO_SUMMARY = "It can't be summarised: it refuses an input of its shape, or can't be loaded."
WAITS = "They are being found out."


@dataclass(frozen=True)
class Layer:
    """A layer, or a tensor, as text; `depth` says in how many others a layer is."""

    name: str
    kind: str
    shape: str
    parameters: str
    depth: int = 0


@dataclass(frozen=True)
class Layers:
    """What is known of a model's layers, or why nothing is; `waits`: somebody is at it."""

    layers: list[Layer]
    left_out: int = 0
    totals: tuple[str, str] = ("", "")
    """All parameters, and those that are trained."""
    of_tensors: bool = False
    because: str = ""
    waits: bool = False


def layers_of(model: Model) -> Layers:
    """Return a model's layers as far as they are known by now; asks for them where they aren't."""
    described = model.global_model
    if not described.file:
        return Layers([], because=NO_FILE)
    if described.weights_only:
        return _tensors_of(described)
    if not described.input_shape:
        return Layers([], because=NO_SHAPE)
    row = want_stats(model)
    if row is None or not row.computed_at:
        return Layers([], because=WAITS, waits=True)
    return _read(row.stats) if row.stats else Layers([], because=NO_SUMMARY)


def _tensors_of(model: Model) -> Layers:
    try:
        return _read(tensor_stats(model), of_tensors=True)
    except NotFound as error:
        return Layers([], because=str(error))


def _read(stats: Mapping[str, Any], *, of_tensors: bool = False) -> Layers:
    listed = stats.get("summary_list")
    listed = listed if isinstance(listed, list) else []
    entries = [entry for entry in listed if isinstance(entry, dict)]
    totals = _count(stats.get("total_params")), _count(stats.get("trainable_params"))
    layers = [_layer(entry) for entry in entries[:MOST]]
    return Layers(layers, max(len(entries) - MOST, 0), totals, of_tensors)


def _layer(entry: Mapping[str, Any]) -> Layer:
    depth = entry.get("depth")
    return Layer(
        name=_text(entry.get("var_name")),
        kind=_text(entry.get("class_name")),
        shape=_shape(entry.get("shape", entry.get("output_size"))),
        parameters=_same_as(entry) or _count(entry.get("num_params")),
        depth=min(max(depth, 0), DEEPEST) if isinstance(depth, int) else 0,
    )


def _same_as(entry: Mapping[str, Any]) -> str:
    return f"the same as {_text(entry['same_as'])}" if entry.get("same_as") else ""


def _text(value: object) -> str:
    text = str(value or "")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _shape(sizes: object) -> str:
    if not isinstance(sizes, list):
        return ""
    return _text(" \N{MULTIPLICATION SIGN} ".join(map(str, sizes[:LONGEST])) or "1")


def _count(number: object) -> str:
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if type(number) is int else ""
