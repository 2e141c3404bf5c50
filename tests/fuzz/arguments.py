"""Arguments by the types of an operator's schema: most could be meant, some never are."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tests.fuzz.memory import guarded

HUGE = [2**31 - 1, 2**31, 2**32, 2**61, 2**62 + 1, 2**63 - 1]
INTEGERS = [*HUGE, *(-n for n in HUGE), -(2**63), -7, -2, -1, 0, 4, 5, 9, 64, 65, 1000]
FLOATS = [0.0, -0.0, 1e-18, -1e-18, 1e-300, -1.0, 0.5, 1e18, 1e300, -1e300]
FLOATS += [float("inf"), float("-inf"), float("nan")]
STRINGS = ["", "none", "mean", "sum", "floor", "trunc", "reflect", "constant", "circular", "ij"]
STRINGS += ["xy", "tanh", "i,j->ij", "...ij,jk", "bilinear", "ortho", "left", "\x00", "%s" * 9]
STRINGS += ["{}{}", "a b\tc", "A" * 300]
DTYPES = [torch.float32] * 12 + [torch.float64] * 2 + [torch.int64] * 4
DTYPES += [torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.float16]
DTYPES += [torch.bfloat16, torch.complex64, torch.complex128]
LAYOUTS = ["plain"] * 8 + ["transposed", "stepped", "shifted", "expanded", "channels_last", "far"]
MAX_NUMEL = 1 << 14
ENUMS = {
    "dtype": [*range(12), 15],
    "out_dtype": [*range(12), 15],
    "layout": [0],
    "memory_format": range(4),
}
"""Admission lets no others pass."""


@dataclass(frozen=True)
class Shaped:
    """A tensor to be made: `values` is None for small ones, or a range, or what to repeat."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    values: Sequence[float] | range | None = None
    layout: str = "plain"
    huge: bool = False  # its first dimension of size 1 is expanded beyond all memory
    grad: bool = True


def x(*shape: int) -> Shaped:
    """Numbers around 0."""
    return Shaped(shape)


def ids(shape: tuple[int, ...], *values: int) -> Shaped:
    """Integers, these in turn."""
    return Shaped(shape, torch.int64, values)


class Arguments:
    """Everything that a case passes is drawn here, from one seed."""

    def __init__(self, seed: str, around: int) -> None:
        self.rng = random.Random(seed)
        self.around = around
        self.shape = self.any_shape()
        self.hostile = self.rng.choice([0.0, 0.05, 0.2, 0.5])
        self.tensors: list[Tensor] = []
        self.grad = True  # whether what is made next may require one
        self.makers: dict[str, Callable[[str], Any]] = {
            "Tensor": lambda name: self.make(self.any_tensor(name)),
            "int": self.integer,
            "float": lambda name: self.floating(),
            "number": lambda name: self.by_type(self.rng.choice(["int", "float"]), name),
            "complex": lambda name: complex(self.floating(), self.floating()),
            "bool": lambda name: self.rng.random() < 0.5,
            "str": lambda name: self.rng.choice(STRINGS),
            "Device": lambda name: torch.device("cpu"),
            "Generator": lambda name: None,
        }

    def by_type(self, kind: str, name: str = "") -> Any:
        """A value of the type as schemas write it."""
        rng = self.rng
        if kind.startswith("Optional["):
            return None if rng.random() < 0.4 else self.by_type(kind[9:-1], name)
        if kind.startswith("List["):
            return self.some(kind[5:-1], name)
        if kind not in self.makers:
            raise NotImplementedError(kind)
        return self.makers[kind](name)

    def some(self, kind: str, name: str) -> list[Any]:
        """A list, mostly as long as the shapes of the case have dimensions."""
        lengths = [len(self.shape), len(self.shape), 1, 2, 3]
        length = self.rng.choice([0, 4, 5, 8, 70]) if self.strikes() else self.rng.choice(lengths)
        if kind == "int" and "size" in name and not self.strikes():
            return list(self.shape)
        return [self.by_type(kind, name) for _ in range(length)]

    def floating(self) -> float:
        return self.rng.choice(FLOATS if self.strikes() else [0.1, 0.5, 1.0, 2.0])

    def integer(self, name: str) -> int:
        if name in ENUMS:
            return self.rng.choice(ENUMS[name])
        if self.strikes():
            return self.rng.choice(INTEGERS)
        return self.rng.choice([0, 0, 1, 1, 1, 2, 2, 3, -1])

    def strikes(self) -> bool:
        return self.rng.random() < self.hostile

    # --- tensors -------------------------------------------------------------------------
    def any_shape(self) -> tuple[int, ...]:
        sizes = [1, 2, 3, 4, 5] if self.rng.random() < 0.8 else [0, 1, 2, 7, 33]
        return tuple(
            self.rng.choice(sizes) for _ in range(self.rng.choice([0, 1, 1, 2, 2, 3, 4, 5]))
        )

    def any_tensor(self, name: str) -> Shaped:
        shape = self.shape if self.rng.random() < 0.7 else self.any_shape()
        dtype = self.rng.choice(DTYPES)
        if name in ("index", "indices", "offsets", "target", "lengths", "batch_sizes"):
            dtype = self.rng.choice([torch.int64] * 5 + [torch.int32, torch.bool, torch.float32])
        tensor = Shaped(shape, dtype, None, self.rng.choice(LAYOUTS), grad=self.rng.random() < 0.7)
        return self.spoilt(tensor) if self.strikes() else tensor

    def spoilt(self, tensor: Shaped) -> Shaped:
        """The same with something about it that doesn't fit."""
        rng = self.rng
        shape = list(tensor.shape)
        match rng.randrange(8):
            case 0 if shape:
                shape[rng.randrange(len(shape))] = rng.choice([0, 0, 1, 2, 3, 7, 64])
            case 1:
                shape.insert(rng.randint(0, len(shape)), rng.choice([0, 1, 2]))
            case 2 if shape:
                shape.pop(rng.randrange(len(shape)))
            case 3:
                tensor = replace(tensor, dtype=rng.choice(DTYPES))
            case 4 if rng.random() < 0.2:
                tensor = replace(tensor, huge=True)
            case 5:
                tensor = replace(tensor, layout=rng.choice(LAYOUTS[8:]))
            case _:
                floating = tensor.dtype.is_floating_point or tensor.dtype.is_complex
                values = FLOATS if floating else INTEGERS
                drawn = [rng.choice([*values, 0, 1, 2]) for _ in range(5)]
                tensor = replace(tensor, values=sorted(drawn, reverse=rng.random() < 0.5))
        return replace(tensor, shape=tuple(shape))

    def make(self, wanted: Shaped) -> Tensor:
        """The tensor, in guarded memory; it may require a gradient."""
        shape, layout = list(wanted.shape), wanted.layout
        if layout == "stepped" and shape:
            shape[-1] *= 2
        if layout == "shifted" and shape:
            shape[0] += 1
        tensor = guarded(
            self.numbers(shape, wanted), at_end=self.rng.random() < 0.6, around=self.around
        )
        tensor = self.laid_out(tensor, layout)
        if wanted.huge and self.grad:
            tensor = self.expanded(tensor)
        if self.grad and wanted.grad and (tensor.is_floating_point() or tensor.is_complex()):
            tensor = tensor.detach().requires_grad_()
        self.tensors.append(tensor)
        return tensor

    def numbers(self, shape: Sequence[int], wanted: Shaped) -> Tensor:
        count = 1
        for size in shape:
            count *= size
        if count > MAX_NUMEL:
            raise MemoryError
        dtype, source = wanted.dtype, torch.Generator().manual_seed(self.rng.getrandbits(60))
        floating = dtype.is_floating_point or dtype.is_complex
        if wanted.values:
            repeated = [*wanted.values] * (count // len(wanted.values) + 1)
            numbers = torch.tensor(
                repeated[:count], dtype=torch.float64 if floating else torch.int64
            )
        elif floating:
            numbers = torch.randn(count, generator=source, dtype=torch.float64)
        else:
            numbers = torch.randint(0, 4, (count,), generator=source)
        return numbers.reshape(list(shape)).to(dtype)

    @staticmethod
    def laid_out(tensor: Tensor, layout: str) -> Tensor:
        if layout == "transposed" and tensor.dim() > 1:
            return tensor.transpose(0, -1).contiguous().transpose(0, -1)
        if layout == "stepped" and tensor.dim():
            return tensor[..., ::2]
        if layout == "shifted" and tensor.dim():
            return tensor[1:]
        if layout == "expanded" and tensor.dim() and tensor.shape[0]:
            return tensor[:1].expand(tensor.shape)
        if layout == "far" and tensor.dim() and tensor.shape[0]:
            return tensor[:: 1 << 61]  # one row, whose stride wraps
        if layout == "channels_last" and tensor.dim() == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def expanded(self, tensor: Tensor) -> Tensor:
        size = self.rng.choice([2**20, 2**31, 2**32 + 1, 2**40, 2**61])
        if not tensor.dim() or not tensor.shape[0]:
            return tensor
        return tensor[:1].expand(size, *tensor.shape[1:])
