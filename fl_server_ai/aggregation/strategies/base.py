"""What an aggregation strategy has to offer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fl_server_core import options

if TYPE_CHECKING:
    from torch import Tensor

    from fl_server_ai.aggregation.block import Block, Cohort


@dataclass(frozen=True)
class Combined:
    """What becomes of a block: its new values, and the new values of its state by name.

    Both have the block's length; they are rounded to the types that are stored.
    """

    values: "Tensor"
    state: Mapping[str, "Tensor"] = field(default_factory=dict)


class Strategy(ABC):
    """How updates are combined, element by element.

    The engine walks through the model in blocks and gives a strategy the values that all
    updates have in one block, so a strategy that sorts or compares them needs no more memory
    than one that adds them up. Blocks are combined in several threads at once, so a strategy
    keeps nothing between them but its options.
    """

    Options: ClassVar[type[options.Options]] = options.NoOptions
    """What `options.aggregation` of a training may say."""

    needs_global: ClassVar[bool] = False
    """Whether a block has the values of the model that the updates are to change."""

    streams: ClassVar[bool] = False
    """Whether it takes the updates in one after another; one that doesn't gets smaller blocks,
    because it may hold several copies of all of them."""

    surveys: ClassVar[bool] = False
    """Whether `measure` goes over all updates before the first block is combined."""

    def __init__(self, options: Any = None) -> None:
        self.options = options or self.Options()

    def initial_state(self) -> Mapping[str, float]:
        """Return the names of its state and with what each begins.

        State has a number for each number of the model's float parameters. It is stored with each
        version of the model, so a rollback brings it back.
        """
        return {}

    def measure(self, block: "Block") -> npt.ArrayLike:
        """Return numbers on the updates in one block of floats; they are added up over all blocks.

        Always of the same shape, say one number for each update, or for each pair.
        """
        raise NotImplementedError

    def scale(self, measured: npt.NDArray[np.float64], cohort: "Cohort") -> Sequence[float]:
        """Return a number for each update, of the sums of `measure`: a block's `scales`.

        What it means is between this and `combine`: a factor, a weight, or 0 and 1 as a mask.
        """
        raise NotImplementedError

    @abstractmethod
    def combine(self, block: "Block") -> Combined:
        """Return what becomes of a block of floats, integers, or truth values as 0 and 1.

        The block must not be changed: its tensors are the files.
        """
