"""Taking in what a participant sends: only numbers, checked and put in the global order."""

from collections.abc import Iterator, Mapping
from itertools import repeat
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fl_archive.disk import Bytes
from fl_archive.dtypes import PACKED, flaws, nans
from fl_archive.errors import UNEXPECTED, Mismatch, NotAModel, Refused, shown
from fl_archive.floats import READ
from fl_archive.model import ModelFile, TensorSpec, read_model
from fl_archive.names import SHOWN, Expected, match_names
from fl_archive.part import WHOLE, Part
from fl_archive.safetensors_file import write_tensor_file
from fl_archive.views import Shape


def admit_update(source: Path, whole: ModelFile, target: Path, part: Part = WHOLE) -> list[str]:
    """Copy an update's tensors into a safetensors file of the layout of the global model's part.

    The update may be a TorchScript archive, a saved module or state dict, or safetensors; what
    else it holds of the whole model is left out.
    Raises `Mismatch` unless names, shapes and dtypes are the model's, tied weights are
    equal, and every value is finite or, as in an attention mask, the model's own.

    Buffers that are state in TorchScript alone may be missing: they stay as the model has
    them. Returns their names.
    """
    reference = part.of(whole)
    with read_model(source) as update:
        if update.format == "tensor":
            raise NotAModel(UNEXPECTED, "It is a tensor: send the whole model.state_dict().")
        groups = _match_names(update, reference, whole)
        check_alike(update.tensors, reference)
        chunks = (
            chunk
            for name, names in groups.items()
            for chunk in (
                _read_checked(update, names, reference) if names else reference.windows(name)
            )
        )
        write_tensor_file(target, reference.layout, chunks)
        return [name for name, names in groups.items() if not names]


def admit_moments(source: Path, reference: ModelFile, target: Path) -> None:
    """Copy SWAG moments into a safetensors file with the reference's parameters, in their order.

    The source is one flat tensor as `parameters_to_vector` makes it, or holds the parameters by
    name. All become float64: everybody's must be of one type to be merged, and their variance
    is the difference of two numbers that are nearly the same.
    """
    with read_model(source) as moments:
        if not READ.keys() >= {spec.dtype for spec in moments.tensors.values()}:
            raise Mismatch("The moments are not floating-point numbers.")
        flat = moments.format == "tensor"
        shapes = (_split_flat if flat else _match_parameters)(moments, reference)
        names = [""] if flat else list(shapes)
        chunks = (
            READ[moments.tensors[name].dtype](chunk).astype("<f8").view(np.uint8)
            for name in names
            for chunk in _read_checked(moments, [name], None)
        )
        write_tensor_file(target, {name: ("F64", shape) for name, shape in shapes.items()}, chunks)


def check_has_moments(reference: ModelFile) -> None:
    """Raise `Refused` for a model with a parameter that can have no moments."""
    for name in reference.learned:
        dtype = reference.tensors[name].dtype
        if dtype.startswith("C") or dtype in PACKED:
            raise Refused(
                f"Parameter {shown(name)} is of type {dtype}, for which SWAG is not made."
            )
        if any(flaws(window, dtype).any() for window in reference.windows(name)):
            raise Refused(
                f"Parameter {shown(name)} holds NaN or infinite values, and so would its SWAG "
                "moments: make it a buffer."
            )


def _split_flat(moments: ModelFile, reference: ModelFile) -> dict[str, Shape]:
    if reference.weights_only:
        raise Mismatch(
            "The moments are one flat tensor, but the model is weights alone, which say nothing of "
            "its parameters' order: send them by name."
        )
    [spec] = moments.tensors.values()
    shapes = {name: reference.tensors[name].shape for name in reference.parameters}
    count = sum(map(prod, shapes.values()))
    if spec.shape != (count,):
        raise Mismatch(f"The moments are {_shown(spec)}; the model has {count} parameters.")
    return shapes


def _match_parameters(moments: ModelFile, reference: ModelFile) -> dict[str, Shape]:
    names = reference.learned
    match_names(moments, Expected(set(names), [[name] for name in names]))
    check_alike(moments.tensors, reference, dtype=False)
    return {name: moments.tensors[name].shape for name in names}


def _match_names(update: ModelFile, reference: ModelFile, whole: ModelFile) -> dict[str, list[str]]:
    """For each distinct tensor of the reference those of its names that the update has.

    None for a buffer that a state dict may lack. Of the update the reference's tensors are left.
    """
    groups: dict[str, list[TensorSpec]] = {spec.name: [] for spec in reference.distinct}
    for spec in reference.tensors.values():
        groups[spec.alias_of or spec.name].append(spec)
    # Safetensors files may hold tied weights once, by any of their names.
    together = update.format == "safetensors"
    alone = [[spec] for spec in reference.tensors.values()]
    needed = [
        [spec.name for spec in group]
        for group in (groups.values() if together else alone)
        if not all(spec.is_fixed for spec in group)
    ]
    buffers = frozenset(spec.name for spec in reference.tensors.values() if not spec.is_parameter)
    match_names(update, Expected(whole.tensors.keys(), needed, buffers))
    update.tensors = {
        name: spec for name, spec in update.tensors.items() if name in reference.tensors
    }
    return {
        name: [spec.name for spec in group if spec.name in update.tensors]
        for name, group in groups.items()
    }


def check_alike(
    tensors: Mapping[str, TensorSpec], reference: ModelFile, *, dtype: bool = True
) -> None:
    """Raise `Mismatch` unless each tensor has the shape, and the dtype, that the model's has."""
    unlike = [
        f"Tensor {shown(name)} is {_shown(spec)}; the global model's is {_shown(expected)}."
        for name, spec in tensors.items()
        if spec.shape != (expected := reference.tensors[name]).shape
        or (dtype and spec.dtype != expected.dtype)
    ]
    if len(unlike) > SHOWN:
        unlike[SHOWN:] = [f"{len(unlike) - SHOWN} more differ."]
    if unlike:
        raise Mismatch(" ".join(unlike))


def _shown(spec: TensorSpec) -> str:
    return f"{spec.dtype} of shape {list(spec.shape)}"


def _read_checked(
    update: ModelFile, names: list[str], reference: ModelFile | None
) -> Iterator[Bytes]:
    """The bytes of a tensor, once it is known that all its names hold the same finite values."""
    spec = update.tensors[names[0]]
    others = [name for name in names[1:] if update.tensors[name].view != spec.view]
    copies = zip(*(update.windows(name) for name in (spec.name, *others)), strict=True)
    before = reference.windows(spec.name) if reference else repeat(None)
    for (window, *rest), own in zip(copies, before, strict=False):
        if any(not np.array_equal(window, copy) for copy in rest):
            raise Mismatch(f"Tied tensors {shown(names[0])} and {shown(others[0])} differ.")
        if spec.dtype in PACKED and own is not None and not np.array_equal(window, own):
            raise Mismatch(
                f"Tensor {shown(spec.name)} differs from the global model's, but is of a type "
                f"that can't be averaged ({spec.dtype}): leave it as it is."
            )
        flawed = flaws(window, spec.dtype)
        yield _as_before(spec, window, flawed, own) if flawed.any() else window


def _as_before(
    spec: TensorSpec, window: Bytes, flawed: npt.NDArray[np.bool_], own: Bytes | None
) -> Bytes:
    """The window, whose flaws must be the global model's own, such as an attention mask's -∞.

    A NaN in a NaN's place gets its bits, which depend on the machine that computed it.
    """
    settled = window.copy()
    elements = settled.reshape(flawed.size, -1)
    if own is not None:
        both = nans(window, spec.dtype) & nans(own, spec.dtype)
        elements[both] = own.reshape(flawed.size, -1)[both]
    if own is None or not np.array_equal(elements[flawed], own.reshape(flawed.size, -1)[flawed]):
        if spec.dtype == "BOOL":
            raise Mismatch(f"Tensor {shown(spec.name)} holds bytes that are no truth values.")
        raise Mismatch(
            f"Tensor {shown(spec.name)} holds NaN or infinite values, which the global model's "
            "does not: train with a smaller learning rate or clipped gradients."
        )
    return settled
