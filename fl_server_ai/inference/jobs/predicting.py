"""Predicting: the input through preprocessing and checks to the method that runs the model."""

import importlib
import json
from collections.abc import Callable

import torch
from safetensors.torch import save
from torch import Tensor, nn

from fl_server_ai.failures import JobRefused
from fl_server_ai.inference.jobs.decoding import (
    Decoded,
    Unrecognised,
    decode_bytes,
    decode_json,
    list_to_tensor,
)
from fl_server_ai.inference.jobs.loading import Served
from fl_server_ai.inference.protocol import Predict
from fl_server_ai.uncertainty.calling import call, reason
from fl_server_ai.uncertainty.walk import Prediction, Run

NO_TENSOR = (
    "Model input could not be casted or interpreted as a PyTorch tensor object "
    "and no preprecessing is defined."
)
OTHER_SHAPE = "Input shape does not match model input shape."
EMBEDDINGS = ("Embedding", "EmbeddingBag")


def predict(served: Served, job: Predict) -> bytes:
    """Do the job: read its input, return its result."""
    batch = prepare(served, job)
    try:
        result = _run(served, batch, job)
    except RuntimeError as error:  # the model had its own say: this is torch's, of its output
        raise JobRefused(f"The model's output can't be used: {reason(error)}") from error
    return save(result)


def _run(served: Served, batch: Tensor, job: Predict) -> dict[str, Tensor]:
    run = Run(
        members=served.members,
        moments=served.moments,
        batch=batch.to(served.device),
        samples=job.samples,
        softmax=job.softmax,
    )
    with torch.no_grad():
        prediction = find_method(job.method)(run)
    named = {f"uncertainty.{name}": value for name, value in prediction.uncertainty.items()}
    # A GPU may not have got so far before this; if it fails, it does so here.
    return {
        name: value.cpu().contiguous()
        for name, value in ({"inference": prediction.inference} | named).items()
    }


def find_method(path: str) -> Callable[[Run], Prediction]:
    """Return the function of this path; once caged, only of a module that is imported already."""
    module, _, name = path.rpartition(".")
    function: Callable[[Run], Prediction] = getattr(importlib.import_module(module), name)
    return function


def prepare(served: Served, job: Predict) -> Tensor:
    """Return the tensor that the model is called with."""
    decoded = _decode(served, job)
    value = decoded.value
    if isinstance(value, list):
        tensor = list_to_tensor(value, keep_integers=embeds(served.members[0].template))
        if tensor is None and served.preprocessing is None:
            raise JobRefused(NO_TENSOR)
        value = value if tensor is None else tensor  # texts, say, which preprocessing may know
    if served.preprocessing is not None:
        value = call(served.preprocessing, value, "Preprocessing")
    if not isinstance(value, Tensor):
        raise JobRefused("Preprocessing gave something else than a tensor.")
    if decoded.is_image and job.input_shape and len(job.input_shape) == value.dim() + 1:
        value = value.unsqueeze(0)
    _check_shape(value, job)
    return value


def _decode(served: Served, job: Predict) -> Decoded:
    raw = job.input.read()
    try:
        return decode_json(raw) if job.is_json else decode_bytes(raw)
    except Unrecognised as error:
        raise JobRefused(str(error) if served.preprocessing else NO_TENSOR) from error


def embeds(module: nn.Module) -> bool:
    """Whether the model has a layer that wants indices; scripts keep their classes' names."""
    return any(
        getattr(layer, "original_name", type(layer).__name__) in EMBEDDINGS
        for layer in module.modules()
    )


def _check_shape(batch: Tensor, job: Predict) -> None:
    for size, expected in zip(batch.shape, job.input_shape or [], strict=False):
        if expected not in (None, size):
            raise JobRefused(f"{OTHER_SHAPE}\n{_shapes(batch, job)}")
    if batch.dim() and len(batch) > job.max_batch:
        raise JobRefused(f"A request may hold up to {job.max_batch} inputs; this has {len(batch)}.")


def _shapes(batch: Tensor, job: Predict) -> str:
    expected = json.dumps(job.input_shape)
    return f"The input's shape is {list(batch.shape)}, the model's {expected}; null is any size."
