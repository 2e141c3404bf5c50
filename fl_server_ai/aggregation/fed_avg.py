"""Federated averaging: McMahan et al. 2017, https://arxiv.org/abs/1602.05629."""

from collections.abc import Sequence

from torch import Tensor

from fl_server_ai.aggregation.means import mean_of_floats, mean_of_integers
from fl_server_ai.aggregation.strategy import Strategy


class FedAvg(Strategy):
    """The mean of the updates, each weighted by the samples it was trained on.

    FedProx (Li et al. 2020, https://arxiv.org/abs/1812.06127) merges in the same way: it
    differs in the loss that clients train with.
    """

    def combine(self, values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
        """Average one block; updates without samples don't count."""
        kept = [value for value, weight in zip(values, weights, strict=True) if weight]
        mean = mean_of_floats if values[0].is_floating_point() else mean_of_integers
        return mean(kept, [weight for weight in weights if weight])
