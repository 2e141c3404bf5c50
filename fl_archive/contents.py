"""What is in a model file: its tensors by name, in whatever format it was saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from types import TracebackType
from typing import Self

import numpy as np

from fl_archive.disk import WINDOW, Bytes, windows
from fl_archive.dtypes import DTYPES, FLOATING, PACKED
from fl_archive.records import Pickle
from fl_archive.safetensors_file import size_of
from fl_archive.views import Shape, View
from fl_archive.zip_reader import ZipMember


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

    `format` says what may be done with it: "torchscript" and "module" bring their code,
    "state_dict" and "safetensors" are weights alone, "tensor" is a bare one. Of any other format
    an update may come.
    """

    format: str
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
