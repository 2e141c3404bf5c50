"""Federated averaging: McMahan et al. 2017, https://arxiv.org/abs/1602.05629."""

from typing import TYPE_CHECKING

from fl_server_ai.aggregation.strategies.base import Combined, Strategy

if TYPE_CHECKING:
    from fl_server_ai.aggregation.block import Block


class FedAvg(Strategy):
    """The mean of the updates, each weighted by the samples it was trained on."""

    streams = True

    def combine(self, block: "Block") -> Combined:
        """Average one block."""
        return Combined(block.mean())
