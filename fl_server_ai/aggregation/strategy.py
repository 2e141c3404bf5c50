"""What an aggregation strategy has to offer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor


class Strategy(ABC):
    """How updates are combined, element by element.

    The engine walks through the model in blocks and gives a strategy the values that all
    updates have in one block, so a strategy that sorts or compares them needs no more memory
    than one that adds them up.
    """

    @abstractmethod
    def combine(self, values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
        """Return the combined block as a fresh tensor of the same dtype and length.

        `values` are one-dimensional, at least one, in an order that depends on the updates'
        content alone, and must not be changed: they are the updates' files. `weights` are at
        least 0 and not all 0. Called from several threads at once.
        """
