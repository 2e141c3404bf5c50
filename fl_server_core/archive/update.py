"""Taking in what a participant sends: only numbers, checked and put in the global order."""

from collections.abc import Callable, Iterator
from itertools import repeat
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_server_core.archive.dtypes import flaws
from fl_server_core.archive.errors import Mismatch, NotAModel
from fl_server_core.archive.files import Bytes
from fl_server_core.archive.model import Archive, TensorSpec, read_model
from fl_server_core.archive.tensors import write_tensor_file
from fl_server_core.archive.views import Shape


def admit_update(source: Path, reference: Archive, target: Path) -> None:
    """Copy an update's tensors into a safetensors file of the reference's layout.

    The update may be a TorchScript archive, a saved module or state dict, or safetensors.
    Raises `Mismatch` unless names, shapes and dtypes are the reference's, tied weights are
    equal, and every value is finite (or, as in an attention mask, the reference's own).
    """
    with read_model(source) as update:
        if update.kind == "tensor":
            raise NotAModel("Loaded torch object is not of expected type.")
        groups = _match_names(update, reference)
        for name, spec in update.tensors.items():
            _check_alike(spec, reference.tensors[name])
        chunks = (
            chunk for names in groups.values() for chunk in _read_checked(update, names, reference)
        )
        write_tensor_file(target, reference.layout, chunks)


def admit_moments(source: Path, reference: Archive, target: Path) -> None:
    """Copy SWAG moments into a safetensors file with the reference's parameters, in their order.

    The source is one flat tensor as `parameters_to_vector` makes it, or holds the parameters by
    name. All become float64: everybody's must be of one type to be merged, and their variance
    is the difference of two numbers that are nearly the same.
    """
    with read_model(source) as moments:
        if not WIDENED.keys() >= {spec.dtype for spec in moments.tensors.values()}:
            raise Mismatch("The moments are not floating-point numbers.")
        flat = moments.kind == "tensor"
        shapes = (_split_flat if flat else _match_parameters)(moments, reference)
        names = [""] if flat else list(shapes)
        chunks = (
            WIDENED[moments.tensors[name].dtype](chunk).astype("<f8").view(np.uint8)
            for name in names
            for chunk in _read_checked(moments, [name], None)
        )
        write_tensor_file(target, {name: ("F64", shape) for name, shape in shapes.items()}, chunks)


WIDENED: dict[str, Callable[[Bytes], npt.NDArray[Any]]] = {
    "F16": lambda raw: raw.view("<f2"),
    "BF16": lambda raw: (raw.view("<u2").astype("<u4") << 16).view("<f4"),
    "F32": lambda raw: raw.view("<f4"),
    "F64": lambda raw: raw.view("<f8"),
}
"""Numbers that numpy can convert, by the dtype of their bytes."""


def _split_flat(moments: Archive, reference: Archive) -> dict[str, Shape]:
    [spec] = moments.tensors.values()
    shapes = {name: reference.tensors[name].shape for name in reference.parameters}
    count = sum(map(prod, shapes.values()))
    if spec.shape != (count,):
        raise Mismatch(f"The moments are {_shown(spec)}; the model has {count} parameters.")
    return shapes


def _match_parameters(moments: Archive, reference: Archive) -> dict[str, Shape]:
    names = reference.parameters
    _check_same_names(set(moments.tensors), set(names), set(names))
    for name in names:
        _check_alike(moments.tensors[name], reference.tensors[name], dtype=False)
    return {name: moments.tensors[name].shape for name in names}


def _match_names(update: Archive, reference: Archive) -> dict[str, list[str]]:
    """For each distinct tensor of the reference those of its names that the update has."""
    groups: dict[str, list[str]] = {spec.name: [] for spec in reference.distinct}
    for spec in reference.tensors.values():
        if spec.name in update.tensors:
            groups[spec.alias_of or spec.name].append(spec.name)
    # Safetensors files may hold tied weights once, by any of their names.
    needed = set(reference.tensors)
    if update.kind == "safetensors":
        needed = {name for name, names in groups.items() if not names}
    _check_same_names(set(update.tensors), needed, set(reference.tensors))
    return groups


def _check_same_names(present: set[str], needed: set[str], known: set[str]) -> None:
    if missing := sorted(needed - present):
        raise Mismatch(f"The file lacks tensor '{missing[0]}' of the global model.")
    if surplus := sorted(present - known):
        raise Mismatch(f"The file holds tensor '{surplus[0]:.80}', which the global model lacks.")


def _check_alike(spec: TensorSpec, expected: TensorSpec, *, dtype: bool = True) -> None:
    if spec.shape != expected.shape or (dtype and spec.dtype != expected.dtype):
        raise Mismatch(
            f"Tensor '{spec.name}' is {_shown(spec)}; the global model's is {_shown(expected)}."
        )


def _shown(spec: TensorSpec) -> str:
    return f"{spec.dtype} of shape {list(spec.shape)}"


def _read_checked(update: Archive, names: list[str], reference: Archive | None) -> Iterator[Bytes]:
    """The bytes of a tensor, once it is known that all its names hold the same finite values."""
    spec = update.tensors[names[0]]
    others = [name for name in names[1:] if update.tensors[name].view != spec.view]
    copies = zip(*(update.windows(name) for name in (spec.name, *others)), strict=True)
    before = reference.windows(spec.name) if reference else repeat(None)
    for (window, *rest), own in zip(copies, before, strict=False):
        if any(not np.array_equal(window, copy) for copy in rest):
            raise Mismatch(f"Tied tensors '{names[0]}' and '{others[0]}' differ.")
        flawed = flaws(window, spec.dtype)
        if flawed.any():
            _check_as_before(spec, window, flawed, own)
        yield window


def _check_as_before(
    spec: TensorSpec, window: Bytes, flawed: npt.NDArray[np.bool_], own: Bytes | None
) -> None:
    """Attention masks hold infinities, in the global model too: those may stay."""
    elements = window.reshape(flawed.size, -1)[flawed]
    if own is None or not np.array_equal(elements, own.reshape(flawed.size, -1)[flawed]):
        raise Mismatch(f"Tensor '{spec.name}' holds NaN or infinite values.")
