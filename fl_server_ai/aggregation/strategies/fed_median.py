"""The coordinate-wise median: Yin et al. 2018, https://arxiv.org/abs/1803.01498, section 4."""

from typing import TYPE_CHECKING

from fl_server_ai.aggregation.strategies.base import Combined, Strategy

if TYPE_CHECKING:
    from fl_server_ai.aggregation.block import Block


class FedMedian(Strategy):
    """The median of the updates, number by number; sample sizes don't count."""

    def combine(self, block: "Block") -> Combined:
        """Take what is in the middle: one value, or the mean of two."""
        ranked = block.ranked()
        middle = ranked[(len(ranked) - 1) // 2 : len(ranked) // 2 + 1]
        return Combined(block.mean(middle, weights=[1] * len(middle)))
