"""A model file, opened: its tensors by name, whichever way it was saved."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

import numpy as np

from fl_archive.declared import read_classes
from fl_archive.disk import WINDOW, Bytes, map_file, windows
from fl_archive.dtypes import DTYPES, FLOATING, PACKED
from fl_archive.errors import UNEXPECTED, NotAModel, Refused, shown
from fl_archive.foreign import refuse, refuse_zip
from fl_archive.pickles import MAX_BYTES, read_pickle
from fl_archive.records import Call, Pickle
from fl_archive.safetensors_file import TensorFile, encode_header, size_of
from fl_archive.trees import (
    Found,
    is_module,
    module_tensors,
    script_tensors,
    state_tensors,
)
from fl_archive.views import Shape, View, dense, is_tensor, read_view
from fl_archive.zip_reader import ZipMember, read_content, read_members

Format = Literal["torchscript", "module", "state_dict", "tensor", "safetensors"]

MAX_TENSORS = 40_000
MAX_CODE = 16 << 20


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor; strides and offset count elements within `block`.

    `alias_of` is the first name of the same elements (tied weights), None for that name itself.
    `is_fixed`: nothing in training changes it, so a state dict may lack it (see `trees`).
    """

    name: str
    dtype: str
    shape: Shape
    stride: Shape
    block: str
    offset: int
    is_parameter: bool
    alias_of: str | None = None
    is_fixed: bool = False

    @property
    def view(self) -> View:
        """Where the elements lie."""
        return View(self.dtype, self.shape, self.stride, self.block, self.offset)


@dataclass
class ModelFile:
    """The model state in a file: what `state_dict()` of the loaded model holds, in its order.

    `parameters` are the names in the order of torch's `parameters()`, each object once; two
    objects that share memory are two of them. Empty where the file doesn't tell (state dicts).
    A file that is one bare tensor has the name "".
    """

    format: Format
    tensors: dict[str, TensorSpec]
    parameters: list[str]
    blocks: dict[str, Bytes]
    file: Bytes
    members: dict[str, ZipMember] = field(default_factory=dict)
    pickles: dict[str, Pickle] = field(default_factory=dict)
    sources: dict[str, bytes] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.blocks = {}
        self.file = self.file[:0].copy()

    @property
    def distinct(self) -> list[TensorSpec]:
        """The tensors in order, tied ones once."""
        return [spec for spec in self.tensors.values() if spec.alias_of is None]

    @property
    def layout(self) -> dict[str, tuple[str, Shape]]:
        """Dtype and shape of the distinct tensors: the layout of an update's file."""
        return {spec.name: (spec.dtype, spec.shape) for spec in self.distinct}

    @property
    def size(self) -> int:
        """Bytes of the distinct tensors: about the size of an update's file."""
        return sum(size_of(dtype, shape) for dtype, shape in self.layout.values())

    @property
    def weights_only(self) -> bool:
        """Whether these are tensors by name, without the model that they belong to."""
        return self.format in ("state_dict", "safetensors")

    @property
    def trainable(self) -> bool:
        """Whether there is a parameter, or what may be one, that averaging can move."""
        movable = FLOATING - PACKED
        names = self.tensors if self.weights_only else self.parameters
        return any(self.tensors[name].dtype in movable for name in names)

    @property
    def learned(self) -> list[str]:
        """The parameters; where there is no code to tell, all tensors that may be ones."""
        if not self.weights_only:
            return self.parameters
        return [spec.name for spec in self.distinct if spec.dtype in FLOATING - PACKED]

    def first_name(self, name: str) -> str:
        """Return the first of a tensor's names; of tied weights all have the same."""
        return self.tensors[name].alias_of or name

    def rename(self, names: Mapping[str, str]) -> None:
        """Give every tensor another name, of which no two are equal."""
        self.tensors = {
            names[spec.name]: replace(
                spec, name=names[spec.name], alias_of=spec.alias_of and names[spec.alias_of]
            )
            for spec in self.tensors.values()
        }
        self.parameters = [names[name] for name in self.parameters]

    def raw(self, name: str) -> Bytes:
        """The elements' bytes in the tensor's own order: mapped, or gathered if it is strided."""
        spec = self.tensors[name]
        start, end = spec.view.span
        if spec.view.contiguous:
            return self.blocks[spec.block][start:end]
        gathered = np.ascontiguousarray(spec.view.window(self.blocks[spec.block]))
        return gathered.reshape(-1).view(np.uint8)

    def windows(self, name: str) -> Iterator[Bytes]:
        """The same in pieces, of which only one is in memory at a time."""
        spec = self.tensors[name]
        if spec.view.contiguous:
            yield from windows(self.raw(name), DTYPES[spec.dtype])
            return
        elements = spec.view.window(self.blocks[spec.block]).flat
        step = WINDOW // DTYPES[spec.dtype]
        for start in range(0, prod(spec.shape), step):
            yield np.ascontiguousarray(elements[start : start + step]).view(np.uint8)


def read_model(path: Path | BinaryIO) -> ModelFile:
    """Open a TorchScript archive, a saved module or state dict, or a safetensors file.

    Raises `NotAModel` for what is none of them, `Refused` for what they hold unsupported.
    """
    raw = map_file(path)
    if raw[:4].tobytes() == b"PK\3\4":
        return _read_torch(raw)
    if raw[4:9].tobytes() == b"\0\0\0\0{":  # behind a length that is no text
        return _read_safetensors(path)
    raise refuse(raw)


def _read_safetensors(path: Path | BinaryIO) -> ModelFile:
    with TensorFile(path) as file:
        blocks = {name: file.raw(name) for name in file.tensors}
        specs = {
            name: TensorSpec(name, info.dtype, info.shape, dense(info.shape), name, 0, False)
            for name, info in file.tensors.items()
        }
        members = {name: _member(file, name) for name in file.tensors}
    return ModelFile("safetensors", specs, [], blocks, map_file(path), members)


def _member(file: TensorFile, name: str) -> ZipMember:
    info = file.tensors[name]
    size = info.end - info.start
    return ZipMember(
        name, file.start + info.start, size, size, deflated=False, crc=0, crc_fields=()
    )


def _read_torch(raw: Bytes) -> ModelFile:
    members = read_members(raw)
    _check_byte_order(raw, members)
    names: list[str] = [name for name in ("data.pkl", "constants.pkl") if name in members]
    if "data.pkl" not in names:
        raise refuse_zip(list(members))
    pickles = {name: read_pickle(read_content(raw, members[name], MAX_BYTES)) for name in names}
    blocks = {
        name: _read_block(raw, member)
        for name, member in members.items()
        if name.startswith(("data/", "constants/"))
    }
    sources = _read_sources(raw, members) if "constants.pkl" in names else {}
    form, found = _find_tensors(pickles, sources)
    tensors, parameters = _describe(found, blocks)
    return ModelFile(form, tensors, parameters, blocks, raw, members, pickles, sources)


def _read_block(raw: Bytes, member: ZipMember) -> Bytes:
    if member.deflated:
        raise Refused(f"Member '{member.name:.80}' is compressed: save it as torch does.")
    return raw[member.start : member.start + member.size]


def _check_byte_order(raw: Bytes, members: Mapping[str, ZipMember]) -> None:
    order = members.get("byteorder")
    if order is not None and read_content(raw, order, 16).strip() != b"little":
        raise Refused("The file is big-endian: save it on a little-endian machine.")


def _read_sources(raw: Bytes, members: Mapping[str, ZipMember]) -> dict[str, bytes]:
    codes = [m for name, m in members.items() if name.startswith("code/") and name[-3:] == ".py"]
    if sum(member.size for member in codes) > MAX_CODE:
        raise NotAModel("The model's code is too large.")
    return {member.name.partition("/")[2]: read_content(raw, member, MAX_CODE) for member in codes}


def _find_tensors(
    pickles: Mapping[str, Pickle], sources: Mapping[str, bytes]
) -> tuple[Format, Iterator[Found]]:
    root = pickles["data.pkl"].root
    if "constants.pkl" in pickles:
        if not isinstance(root, Call):
            raise NotAModel(UNEXPECTED)
        return "torchscript", script_tensors(root, read_classes(sources))
    if is_tensor(root):
        return "tensor", iter([Found("", root, is_parameter=False)])
    if isinstance(root, Call) and is_module(root):
        return "module", module_tensors(root)
    return "state_dict", state_tensors(root)


def _describe(
    found: Iterable[Found], blocks: Mapping[str, Bytes]
) -> tuple[dict[str, TensorSpec], list[str]]:
    """Specs in order, and the parameters' names: one per object, as `parameters()` has them."""
    specs: dict[str, TensorSpec] = {}
    first_names: dict[View, str] = {}
    parameters: dict[int, str] = {}
    for name, record, is_parameter, is_fixed in found:
        if name in specs or len(specs) >= MAX_TENSORS:
            raise NotAModel(f"There are too many tensors, or two with the name {shown(name)}.")
        try:
            view = read_view(record, "data", blocks)
        except (NotAModel, Refused) as error:
            raise type(error)(f"Tensor {shown(name)}: {error}") from error
        spec = TensorSpec(name, *view, is_parameter=is_parameter, is_fixed=is_fixed)
        first = first_names.setdefault(view, name)
        specs[name] = replace(spec, alias_of=None if first == name else first)
        if is_parameter:
            parameters.setdefault(id(record), name)
    encode_header({name: (spec.dtype, spec.shape) for name, spec in specs.items()})
    return specs, list(parameters.values())
