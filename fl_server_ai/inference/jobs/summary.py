"""torchinfo's description of a model's layers, as plain data."""

import json
from typing import Any

import torch
import torchinfo

from fl_server_ai.failures import JobRefused
from fl_server_ai.inference.jobs.loading import Served
from fl_server_ai.inference.jobs.predicting import embeds
from fl_server_ai.inference.protocol import Summarise

TOTALS = (
    "input_size",
    "total_input",
    "total_mult_adds",
    "total_output_bytes",
    "total_param_bytes",
    "total_params",
    "trainable_params",
)
LAYER = (
    "layer_id",
    "class_name",
    "depth",
    "depth_index",
    "executed",
    "var_name",
    "is_leaf_layer",
    "contains_lazy_param",
    "is_recursive",
    "input_size",
    "output_size",
    "kernel_size",
    "trainable_params",
    "num_params",
    "param_bytes",
    "output_bytes",
    "macs",
)


def summarise(served: Served, job: Summarise) -> bytes:
    """Do the job: run the model once on zeros of the shape, null taken for 1."""
    module = served.members[0].fresh()
    try:
        summary = torchinfo.summary(
            module,
            input_size=[size or 1 for size in job.input_shape],
            dtypes=[torch.long if embeds(module) else torch.float32],
            device=served.device,
            mode="eval",
            verbose=0,
        )
    except Exception as error:  # torchinfo runs the model
        raise JobRefused(f"The model can't be summarised: {error}") from error
    layers = [_fields(layer, LAYER) for layer in summary.summary_list]
    stats = _fields(summary, TOTALS) | {"summary_list": layers}
    return json.dumps(stats, default=str).encode()


def _fields(row: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
