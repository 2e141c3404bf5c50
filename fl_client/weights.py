"""Weights as arrays: out of any model file without running its code, into modules and back.

What NumPy has no type for is bytes here, but for bfloat16, which is float32.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_archive import DTYPES, ArchiveError, ModelFile, read_model, write_tensor_file
from fl_archive.disk import Bytes
from fl_archive.floats import READ, WRITTEN
from fl_archive.narrowed import SCALE
from fl_client.errors import Unfit
from fl_client.job import Arrays

NUMPY = {
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
    "C64": "<c8",
    "C128": "<c16",
}
"""The types of a file, but for the floating-point ones, that NumPy has as well."""


def open_model(path: Path) -> ModelFile:
    """Open any model file; raises `Unfit` for what is none."""
    try:
        return read_model(path)
    except ArchiveError as error:
        raise Unfit(str(error)) from error


def read_arrays(path: Path) -> Arrays:
    """Return the tensors of any model file, int8 ones as the floats that they stand for."""
    with open_model(path) as file:
        arrays = {
            name: _array(file.raw(name), spec.dtype).reshape(spec.shape)
            for name, spec in file.tensors.items()
        }
    for name in [name for name in arrays if name.endswith(SCALE)]:
        whole = name.removesuffix(SCALE)
        if whole in arrays and arrays[whole].dtype == np.int8:
            scales, values = arrays.pop(name), arrays[whole]
            arrays[whole] = values * scales.reshape(-1, *[1] * (max(values.ndim, 1) - 1))
    return arrays


def _array(raw: npt.NDArray[np.uint8], dtype: str) -> npt.NDArray[Any]:
    own = raw.copy()  # aligned, and not the file's
    if dtype in READ:
        return READ[dtype](own)
    return own.view(NUMPY.get(dtype, "|u1" if DTYPES[dtype] == 1 else f"|V{DTYPES[dtype]}"))


def to_arrays(weights: Any) -> Arrays:
    """Return the weights of a module, of a state dict, or of a dict of arrays."""
    state = weights.state_dict() if hasattr(weights, "state_dict") else weights
    if not isinstance(state, Mapping):
        raise Unfit(
            f"Weights are a module, a state dict or a dict of arrays, no {type(state).__name__}."
        )
    return {str(name): _to_array(value) for name, value in state.items()}


def _to_array(value: Any) -> npt.NDArray[Any]:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    tensor = value.detach().cpu()
    try:
        array: npt.NDArray[Any] = tensor.numpy()
    except TypeError:  # NumPy has no such type
        import torch

        if tensor.dtype == torch.bfloat16:
            return np.asarray(tensor.float().numpy())
        array = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().reshape(tensor.shape)
    return array


def write_arrays(arrays: Arrays, dtypes: Mapping[str, str], target: Path) -> None:
    """Write safetensors, each tensor in the type that it has in the model."""
    layout = {name: (dtypes[name], array.shape) for name, array in arrays.items()}
    chunks = (_bytes(name, array, dtypes[name]) for name, array in arrays.items())
    write_tensor_file(target, layout, chunks)


def _bytes(name: str, array: npt.NDArray[Any], dtype: str) -> Bytes:
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind not in "biufcV":
        raise Unfit(f"The weight {name} is no array of numbers.")
    if dtype in WRITTEN:
        with np.errstate(over="ignore"):  # what isn't finite the server refuses, with a sentence
            return WRITTEN[dtype](flat)
    return (flat.astype(NUMPY[dtype], copy=False) if dtype in NUMPY else flat).view(np.uint8)


def dtype_of(array: npt.NDArray[Any]) -> str:
    """Return what a file calls an array's own type."""
    known = {"f2": "F16", "f4": "F32", "f8": "F64"} | {v[1:]: k for k, v in NUMPY.items()}
    return known.get(array.dtype.str[1:], "F32")


def load_into(module: Any, arrays: Arrays, *, whole: bool) -> None:
    """Give a module of torch these weights; if they are all, they have to be all of its own.

    Raises `Unfit` where names or shapes aren't the module's.
    """
    state = module.state_dict()
    places = dict(module.named_buffers()) | state  # a script has those that aren't persistent, too
    unknown = sorted(arrays.keys() - places.keys())
    given = {places[name].data_ptr() for name in arrays.keys() & places.keys()}
    lacking = [n for n, t in state.items() if n not in arrays and t.data_ptr() not in given]
    if unknown or (whole and lacking):
        raise Unfit(
            f"The training's model is another than yours: {_listed(unknown, 'it has')}"
            f"{'; ' if unknown and lacking else ''}{_listed(lacking, 'it lacks')}."
        )
    for name, array in arrays.items():
        _copy(name, array, places[name])


def _copy(name: str, array: npt.NDArray[Any], target: Any) -> None:
    import torch

    if array.shape != tuple(target.shape):
        raise Unfit(
            f"The training's model is another than yours: its {name} is of shape "
            f"{list(array.shape)}, yours of {list(target.shape)}."
        )
    tensor = torch.from_numpy(np.ascontiguousarray(array)).reshape(target.shape)
    foreign = tensor.dtype == torch.uint8 and target.dtype not in (torch.uint8, torch.bool)
    with torch.no_grad():
        target.copy_(tensor.view(target.dtype) if foreign else tensor)


def _listed(names: list[str], verb: str) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{verb} {shown}" if names else ""
