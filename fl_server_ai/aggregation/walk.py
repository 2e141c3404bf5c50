"""The walk through a round's updates: tensor by tensor, block by block."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_archive.disk import Bytes
from fl_archive.model import ModelFile
from fl_archive.safetensors_file import Layout, TensorFile
from fl_server_ai.aggregation.block import Block, Cohort
from fl_server_ai.aggregation.errors import NoMean, Unusable
from fl_server_ai.aggregation.strategies.base import Strategy
from fl_server_ai.tensors import ELEMENTS, elements

BLOCK = 1 << 20
"""Bytes of one update that are combined in one go: small enough for a core's caches."""

ALL_BLOCKS = {True: 32 << 20, False: 8 << 20}
"""Bytes of one block over all updates, for strategies that stream and others; with more updates
than fit, blocks get smaller."""

PROGRESS = 256 << 20
"""Bytes of updates between two calls of `progress` within one tensor."""

ALIGNMENT = 64
"""Of a buffer, in bytes: a multiple of every type's size."""

T = TypeVar("T")


@dataclass
class Walk:
    """All that a merge looks at, open: the updates, the global model, the strategy's state.

    `keep_state` takes the bytes of the next state, tensor after tensor in `state_layout`'s order.
    """

    strategy: Strategy
    files: Sequence[TensorFile]
    cohort: Cohort
    device: torch.device
    pool: ThreadPoolExecutor
    progress: Callable[[], None]
    model: ModelFile | None = None
    state: TensorFile | None = None
    keep_state: Callable[[Bytes], object] = lambda _: None
    scales: Sequence[float] = ()

    @property
    def layout(self) -> Layout:
        """The files' tensors, in their order."""
        return _layout(self.files[0])

    def check_layouts(self) -> None:
        """Raise `Unusable` unless all updates have the same tensors."""
        if any(list(_layout(file).items()) != list(self.layout.items()) for file in self.files):
            raise Unusable("The updates have different tensors.")

    @property
    def state_layout(self) -> Layout:
        """The state of each float parameter: one-dimensional, complex numbers as pairs."""
        layout: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name in self.layout:
            for key, values in self._state(name).items():
                dtype = "F64" if values.dtype == torch.float64 else "F32"
                layout[f"{key}/{name}"] = (dtype, (len(values),))
        return layout

    def take_state(self, file: TensorFile) -> None:
        """Go on from a stored state. Raises `Unusable` for that of other tensors."""
        if list(_layout(file).items()) != list(self.state_layout.items()):
            raise Unusable("What the strategy remembers doesn't belong to this model.")
        self.state = file

    def survey(self) -> None:
        """Let the strategy look at all updates first, if it wants to."""
        if not self.strategy.surveys:
            return
        total = np.zeros(())
        for name in self.layout:
            self.progress()
            dtype = self._dtype(name)
            if dtype and dtype.is_floating_point:
                for measured in self._each_block(name, lambda block, _: self._measure(block)):
                    total = total + measured
        self.scales = self.strategy.scale(total, self.cohort)

    def _measure(self, block: Block) -> npt.NDArray[np.float64]:
        return np.asarray(self.strategy.measure(block), np.float64)

    def tensors(self) -> Iterator[tuple[str, Bytes]]:
        """Yield the merged tensors' bytes in the files' order.

        They lie in two buffers by turns, so they are good until the next but one is asked for.
        """
        sizes = {name: self.files[0].raw(name).size for name in self.layout}
        room = max(sizes.values(), default=0)
        buffers = cycle(np.empty((2, room + -room % ALIGNMENT), np.uint8))
        for name, size in sizes.items():
            self.progress()
            if self._dtype(name):
                merged = next(buffers)[:size]
                self._merge(name, merged)
                yield name, merged
            else:
                yield name, self._agreed(name)

    def _agreed(self, name: str) -> Bytes:
        raws = [file.raw(name) for file in self.files]
        if not all(np.array_equal(raw, raws[0]) for raw in raws):
            raise NoMean(f"The updates differ in '{name}', whose type can't be averaged.")
        return raws[0]

    def _merge(self, name: str, merged: Bytes) -> None:
        values = self._elements(name, merged)
        state = {key: torch.zeros_like(present) for key, present in self._state(name).items()}

        def combine(block: Block, part: slice) -> None:
            combined = self.strategy.combine(block)
            values[part].copy_(combined.values)
            for key, kept in state.items():
                limits = torch.finfo(kept.dtype)  # an infinite state would never end
                kept[part].copy_(combined.state[key].clamp(limits.min, limits.max))

        for _ in self._each_block(name, combine):
            pass
        for kept in state.values():
            self.keep_state(kept.view(torch.uint8).numpy())

    def _each_block(self, name: str, do: Callable[[Block, slice], T]) -> Iterator[T]:
        """Do something with each block of a tensor, in threads; yield what comes of it in order."""
        whole = self._whole(name)
        count, first = len(whole.values), whole.values[0]
        size = min(BLOCK, ALL_BLOCKS[self.strategy.streams] // count)
        length = size // first.element_size()

        def do_at(start: int) -> T:
            part = slice(start, start + length)
            return do(whole.part(part, self.device), part)

        starts = iter(range(0, len(first), length))
        while batch := list(islice(starts, PROGRESS // (size * count))):
            yield from self.pool.map(do_at, batch)
            self.progress()

    def _whole(self, name: str) -> Block:
        """Return a tensor as one block, its values mapped."""
        base = torch.empty(0)
        if self.model is not None and self.strategy.needs_global:
            base = self._elements(name, self.model.raw(name))
        return Block(
            values=[self._elements(name, file.raw(name)) for file in self.files],
            global_values=base,
            state=self._state(name),
            cohort=self.cohort,
            scales=self.scales,
        )

    def _state(self, name: str) -> dict[str, Tensor]:
        """Return the present state of a tensor by its names; that of most strategies is none."""
        initial, dtype = self.strategy.initial_state(), self._dtype(name)
        if not initial or not dtype or not dtype.is_floating_point or not self._is_parameter(name):
            return {}
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        if self.state is not None:
            return {key: elements(self.state.raw(f"{key}/{name}"), kept) for key in initial}
        length = self.files[0].raw(name).size // dtype.itemsize
        return {key: torch.tensor(v, dtype=kept).expand(length) for key, v in initial.items()}

    def _is_parameter(self, name: str) -> bool:
        """Tell whether training moves it; where a file has no code to tell, all of it is."""
        if self.model is None:
            return False
        return self.model.weights_only or self.model.tensors[name].is_parameter

    def _dtype(self, name: str) -> torch.dtype | None:
        """Return as what a tensor's elements are combined; None if they can't be, or are none."""
        info = self.files[0].tensors[name]
        return ELEMENTS.get(info.dtype) if info.end > info.start else None

    def _elements(self, name: str, raw: Bytes) -> Tensor:
        return elements(raw, ELEMENTS[self.files[0].tensors[name].dtype])


def _layout(file: TensorFile) -> Layout:
    return {name: (info.dtype, info.shape) for name, info in file.tensors.items()}
