"""Writing a model's weights afresh, in the format that they came in: names and numbers alone.

A safetensors file loses its metadata, which is the uploader's own text. A state dict gets a new
pickle, made here: an OrderedDict of plain tensors on the processor. Whatever else stood in the
old one, such as classes, hooks or attributes of tensors, is not handed on.
"""

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path

from fl_archive.admitted.pickled import SCRIPT_STORAGES
from fl_archive.dtypes import DTYPES, STORAGES, TORCH
from fl_archive.errors import UNEXPECTED, NotAModel
from fl_archive.model import ModelFile, TensorSpec
from fl_archive.safetensors_file import size_of, write_tensor_file
from fl_archive.views import Shape, dense
from fl_archive.zip_reader import check_content
from fl_archive.zip_writer import Content, Pieces, write_members

VERSION = b"3\n"
"""Of torch's zip format; what newer ones add concerns code."""

TYPED = {STORAGES[f"{name}Storage"]: f"{name}Storage" for name in SCRIPT_STORAGES}
"""The storages' names of those types that have some in every version of torch."""

NAMES = {dtype: name for name, dtype in TORCH.items()}


def write_weights(model: ModelFile, target: Path) -> None:
    """Write what is in a safetensors file or a state dict to a new one of the same format."""
    if not model.tensors:
        raise NotAModel(UNEXPECTED, "It holds no tensor: send model.state_dict().")
    if model.format == "safetensors":
        chunks = (chunk for name in model.tensors for chunk in model.windows(name))
        write_tensor_file(target, model.layout, chunks)
    else:
        write_members(target, _state_members(model))


def _state_members(model: ModelFile) -> Iterator[tuple[str, Content]]:
    """Tied weights share a block here as well."""
    for name in {spec.block for spec in model.distinct}:
        check_content(model.blocks[name], model.members[name])
    keys = {spec.name: f"{number}" for number, spec in enumerate(model.distinct)}
    entries = (
        _text(spec.name) + _tensor(spec, keys[spec.alias_of or spec.name])
        for spec in model.tensors.values()
    )
    yield "data.pkl", PROTOCOL + NEW_DICT + b"(" + b"".join(entries) + b"u."
    yield "byteorder", b"little"
    yield "version", VERSION
    for spec in model.distinct:
        parts = (window.data for window in model.windows(spec.name))
        yield f"data/{keys[spec.name]}", Pieces(size_of(spec.dtype, spec.shape), parts)


# --- The pickle, in torch's own opcodes, but without a memo -----------------------------------

PROTOCOL = b"\x80\2"
NEW_DICT = b"ccollections\nOrderedDict\n)R"


def _tensor(spec: TensorSpec, key: str) -> bytes:
    """A call of what rebuilds a tensor; a type without storages of its own is named besides."""
    count, more = prod(spec.shape), []
    if spec.dtype in TYPED:
        rebuild, storage = "_rebuild_tensor_v2", _global("torch", TYPED[spec.dtype])
    else:
        rebuild, storage = "_rebuild_tensor_v3", _global("torch.storage", "UntypedStorage")
        count *= DTYPES[spec.dtype]
        more = [_global("torch", NAMES[spec.dtype])]
    place = _tuple([_text("storage"), storage, _text(key), _text("cpu"), _number(count)]) + b"Q"
    shape = [_number(0), _sizes(spec.shape), _sizes(dense(spec.shape))]
    needs_no_grad, no_hooks = b"\x89", NEW_DICT
    arguments = _tuple([place, *shape, needs_no_grad, no_hooks, *more])
    return _global("torch._utils", rebuild) + arguments + b"R"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _tuple(parts: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def _sizes(sizes: Shape) -> bytes:
    return _tuple(map(_number, sizes))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def _number(value: int) -> bytes:
    """A number that is at least 0; short of 32 bits, or in eight bytes."""
    if value < 1 << 31:
        return b"J" + value.to_bytes(4, "little")
    return b"\x8a\x08" + value.to_bytes(8, "little")
