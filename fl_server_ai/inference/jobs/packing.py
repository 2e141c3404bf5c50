"""Turning a prediction's tensors into the bytes of an answer.

A pickle runs what it says where it is loaded, so none may come from a process that has run an
actor's model: this is done by a runner that loads no model, from tensors that can't be anything
else.
"""

import json
import math
import pickle
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fl_server_ai.failures import JobRefused
from fl_server_ai.inference.protocol import Pack

PREFIX = "uncertainty."
Tensors = dict[str, Tensor]


def pack(job: Pack) -> bytes:
    """Do the job: return the answer."""
    try:
        tensors = load(job.source.read())
    except SafetensorError as error:
        raise JobRefused("The model's result can't be read.") from error
    return FORMS[job.form](tensors)


def as_json(tensors: Tensors) -> bytes:
    """Return the contract's JSON; NaN and infinities, which JSON lacks, become null."""
    answer = _nested({name: _listed(tensor) for name, tensor in tensors.items()})
    return json.dumps(answer, allow_nan=False).encode()


def as_pickle(tensors: Tensors) -> bytes:
    """Return the contract's pickle."""
    return pickle.dumps(_nested(tensors))


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    uncertainty = {
        name.removeprefix(PREFIX): value
        for name, value in values.items()
        if name.startswith(PREFIX)
    }
    return {"inference": values["inference"], "uncertainty": uncertainty}


def _listed(tensor: Tensor) -> Any:
    nested = tensor.tolist()
    if tensor.is_floating_point() and not tensor.isfinite().all():
        return _without_nan(nested)
    return nested


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return value if math.isfinite(value) else None


FORMS: dict[str, Callable[[Tensors], bytes]] = {
    "json": as_json,
    "binary": as_pickle,
    "safetensors": save,
}
