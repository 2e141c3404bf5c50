"""Tensors as pickles describe them: a view of a block of bytes."""

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import numpy as np

from fl_archive.disk import Bytes
from fl_archive.dtypes import DTYPES, TORCH
from fl_archive.errors import NotAModel, Refused, shown
from fl_archive.records import UNSET, Call, Global, Pairs, Storage, text_items
from fl_archive.safetensors_file import MAX_BYTES, MAX_RANK

Shape = tuple[int, ...]

TENSOR_CALLS = {("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor_v3")}
PARAMETER_CALLS = {
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
}
TYPED_CALL = ("torch._tensor", "_rebuild_from_type_v2")
WRAPPERS = PARAMETER_CALLS | {TYPED_CALL}

UNSUPPORTED = {
    "_rebuild_qtensor": "quantized: send the model from before that",
    "_rebuild_sparse_tensor": "sparse: make it dense by to_dense()",
    "_rebuild_sparse_csr_tensor": "sparse: make it dense by to_dense()",
    "_rebuild_nested_tensor": "nested: save its parts",
    "_rebuild_meta_tensor_no_storage": "on the meta device, without values: load them first",
    "_rebuild_wrapper_subclass": "of a class of its own: save its plain values",
    "_rebuild_device_tensor_from_cpu_tensor": "of a device of its own: save it from cpu",
    "_rebuild_device_tensor_from_numpy": "of a device of its own: save it from cpu",
    "_rebuild_tensor": "in an old format: save it again by a newer torch",
    "UninitializedParameter": "lazy: run the model once before saving it",
    "UninitializedBuffer": "lazy: run the model once before saving it",
}

# Elements are moved, never computed with: any numpy type of their size does.
CARRIERS = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8", 16: "<c16"}


class View(NamedTuple):
    """Strides and offset count elements; `block` is a member's name."""

    dtype: str
    shape: Shape
    stride: Shape
    block: str
    offset: int

    @property
    def span(self) -> tuple[int, int]:
        """First byte and the byte after the last one."""
        size = DTYPES[self.dtype]
        reach = _reach(self.shape, self.stride) if prod(self.shape) else 0
        return self.offset * size, (self.offset + reach) * size

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one after another in the tensor's own order."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return prod(self.shape) == 0
            expected *= size
        return True

    def window(self, block: Bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """The elements in the block, shaped and strided; no copy. There must be any."""
        size = DTYPES[self.dtype]
        return np.ndarray(
            self.shape,
            CARRIERS[size],
            buffer=block.data,
            offset=self.offset * size,
            strides=tuple(stride * size for stride in self.stride),
        )


def dense(shape: Shape) -> Shape:
    """The strides of a contiguous tensor."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def is_tensor(record: object) -> bool:
    """Whether the record says that it is a tensor, of a kind that is supported or not."""
    return isinstance(record, Call) and (
        record.pair in TENSOR_CALLS | WRAPPERS or record.pair[1] in UNSUPPORTED
    )


def read_view(record: object, folder: str, blocks: Mapping[str, Bytes]) -> View:
    """What a tensor's record views; `folder` is the archive's folder of blocks.

    Raises `Refused` for kinds of tensors that are not supported, `NotAModel` for what can't be.
    """
    callee, args = _unwrap(record)
    if callee not in TENSOR_CALLS:
        kind = UNSUPPORTED.get(callee[1], "of an unknown kind")
        raise Refused(f"A tensor is {kind}.")
    match args:
        case (Storage() as storage, int(offset), tuple(shape), tuple(stride), bool(), hooks, *more):
            _check_hooks(hooks)
        case _:
            raise NotAModel("A tensor is described in an unknown way.")
    dtype = storage.dtype
    if callee[1] == "_rebuild_tensor_v3":
        dtype, more = _read_dtype(more)
    _check_bits(more)
    view = View(dtype, _sizes(shape), _sizes(stride), f"{folder}/{storage.key}", *_sizes((offset,)))
    _check_extent(view, storage_size(storage, folder, blocks))
    return view


def read_shape(record: object) -> tuple[str, Shape]:
    """Dtype and shape of a tensor whose record `read_view` has read before."""
    callee, args = _unwrap(record)
    match args:
        case (Storage(dtype=dtype), int(), tuple(shape), _, _, _, *more):
            typed = callee[1] == "_rebuild_tensor_v3"
            return _read_dtype(more)[0] if typed else dtype, _sizes(shape)
    raise NotAModel("A tensor is described in an unknown way.")


def storage_size(storage: Storage, folder: str, blocks: Mapping[str, Bytes]) -> int:
    """Bytes of the storage's block, which must be those that it claims."""
    block = blocks.get(f"{folder}/{storage.key}")
    if block is None or not (storage.key.isascii() and storage.key.isdecimal()):
        raise NotAModel(f"Block {shown(storage.key)} is missing.")
    if storage.numel * DTYPES[storage.dtype] != block.size:
        raise NotAModel(f"Block '{storage.key}' has another size than its storage.")
    return block.size


def _unwrap(record: object) -> tuple[tuple[str, str], tuple[object, ...]]:
    """The innermost rebuild call and its arguments."""
    for _ in range(3):
        if not isinstance(record, Call) or record.state is not UNSET:
            raise NotAModel("Something that is not a tensor stands where one should.")
        match record.pair, record.args:
            case (pair, (inner, bool(), hooks, *state)) if pair in PARAMETER_CALLS:
                _check_hooks(hooks)
                _check_attributes(state)
                record = inner
            case (pair, (Global() as func, Global(), tuple(args), state)) if pair == TYPED_CALL:
                _check_attributes([state])
                record = Call(func, args)
            case _:
                return record.pair, record.args
    raise NotAModel("A tensor is described in an unknown way.")


def _check_hooks(hooks: object) -> None:
    if hooks is None:
        return
    if not isinstance(hooks, Call) or hooks.pair != ("collections", "OrderedDict"):
        raise Refused("A tensor carries hooks.")
    if hooks.args or hooks.items or hooks.state is not UNSET:
        raise Refused("A tensor carries hooks.")


def _check_attributes(states: list[object]) -> None:
    for state in states:
        if state is not None and text_items(state) is None:
            raise Refused("A tensor carries attributes that are not named by text.")


def _read_dtype(more: list[object]) -> tuple[str, list[object]]:
    match more:
        case [Global(module="torch", name=name), *rest] if name in TORCH:
            return TORCH[name], rest
    raise NotAModel("A tensor has an unknown dtype.")


def _check_bits(more: list[object]) -> None:
    if len(more) > 1 or not all(isinstance(bits, Pairs) for bits in more):
        raise NotAModel("A tensor is described in an unknown way.")
    if more and more[0]:
        raise Refused("A tensor is a conjugate or negative view: save a clone of it.")


def _sizes(values: tuple[object, ...]) -> Shape:
    sizes = tuple(value for value in values if type(value) is int and 0 <= value <= MAX_BYTES)
    if len(sizes) != len(values) or len(sizes) > MAX_RANK:
        raise NotAModel("A tensor has an impossible size.")
    return sizes


def _check_extent(view: View, size: int) -> None:
    if len(view.shape) != len(view.stride):
        raise NotAModel("A tensor has an impossible size.")
    if view.span[1] > size:
        raise NotAModel("A tensor reaches outside its block.")
    if prod(view.shape) and _overlapping(view):
        raise Refused("A tensor's elements overlap (an expanded tensor): save a clone of it.")


def _reach(shape: Shape, stride: Shape) -> int:
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


def _overlapping(view: View) -> bool:
    """Whether a dimension's step is no longer than all that lies within it."""
    reach = 1
    for step, size in sorted(zip(view.stride, view.shape, strict=True)):
        if size > 1 and step < reach:
            return True
        reach += (size - 1) * step
    return False
