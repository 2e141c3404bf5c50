"""Weights as JSON, names and nested lists of numbers: for clients that have nothing else."""

import json

import numpy as np

from fl_archive.contents import ModelFile, TensorSpec
from fl_archive.disk import Bytes
from fl_archive.errors import NotAModel
from fl_archive.formats.base import Format
from fl_archive.views import dense

LONGEST = 16 << 20  # parsed it takes ten times as much


def is_json(raw: Bytes) -> bool:
    """Tell whether an object begins here."""
    return raw[:2].tobytes() == b'{"'


def read_json(raw: Bytes) -> ModelFile:
    """Read it; all tensors become float32."""
    if raw.size > LONGEST:
        raise NotAModel("The JSON is too long: send safetensors.")
    try:
        lists = json.loads(raw.tobytes())
        arrays = {name: np.array(values, "<f4") for name, values in lists.items()}
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise NotAModel("The file is no JSON object of lists of numbers.") from error
    blocks = {name: array.reshape(-1).view(np.uint8) for name, array in arrays.items()}
    specs = {
        name: TensorSpec(name, "F32", array.shape, dense(array.shape), name, 0, is_parameter=False)
        for name, array in arrays.items()
    }
    return ModelFile("json", specs, [], blocks, raw)


JSON = Format(is_json, read_json)
