"""The largest of each number, multiplied."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl_server_ai.aggregation.strategies.base import Combined, Strategy
from fl_server_core.options import Options, option

if TYPE_CHECKING:
    from fl_server_ai.aggregation.block import Block


@dataclass(frozen=True, kw_only=True)
class LargestOptions(Options):
    """How much of the largest counts."""

    times: float = option("By this it is multiplied.", 1)


class Largest(Strategy):
    """The largest of each number, multiplied."""

    Options = LargestOptions
    options: LargestOptions

    def combine(self, block: "Block") -> Combined:
        """Rank the updates' values, and take the last."""
        return Combined(block.ranked()[-1] * self.options.times)
