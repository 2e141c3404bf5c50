"""FedAdam: Reddi et al. 2021, https://arxiv.org/abs/2003.00295, algorithm 2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl_server_ai.aggregation.strategies.base import Combined, Strategy
from fl_server_core.options import Options, Range, option

if TYPE_CHECKING:
    from fl_server_ai.aggregation.block import Block


@dataclass(frozen=True, kw_only=True)
class FedAdamOptions(Options):
    """Of the server's optimizer; the defaults are the paper's, where it has one."""

    server_learning_rate: float = option(
        "How far the model moves: η of the paper.", 0.01, within=Range(above=0, most=1000)
    )
    beta_1: float = option(
        "How much of the mean change is kept from round to round.", 0.9, within=Range(0, below=1)
    )
    beta_2: float = option(
        "How much of the mean squared change is kept.", 0.99, within=Range(0, below=1)
    )
    tau: float = option(
        "Keeps small changes small: τ, the degree of adaptivity.",
        0.001,
        within=Range(least=1e-9, most=1000),
    )


class FedAdam(Strategy):
    """Adam on the server: the mean change of the updates is taken for a gradient."""

    Options = FedAdamOptions
    options: FedAdamOptions
    needs_global = True

    def initial_state(self) -> Mapping[str, float]:
        """Return both moments; the second begins at τ², as the paper has it."""
        return {"m": 0.0, "v": self.options.tau**2}

    def combine(self, block: "Block") -> Combined:
        """Move one block; buffers and integers, which no gradient moves, are averaged."""
        if not block.state:
            return Combined(block.mean())
        wanted = self.options
        change = block.mean(block.changes())
        m = wanted.beta_1 * block.state["m"] + (1 - wanted.beta_1) * change
        v = wanted.beta_2 * block.state["v"] + (1 - wanted.beta_2) * change.square()
        step = wanted.server_learning_rate * m / (v.sqrt() + wanted.tau)
        return Combined(block.moved(step), {"m": m, "v": v})
