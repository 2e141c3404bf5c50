"""Aggregation strategies: a file each, and a line in `STRATEGIES`.

A strategy's docstring is what the API's description says of it; docs/aggregation.md has more. None
of these files imports torch, because web processes read them: they use the methods of the tensors
that they are given.
"""

from fl_server_ai.aggregation.strategies.base import Strategy
from fl_server_ai.aggregation.strategies.fed_adam import FedAdam
from fl_server_ai.aggregation.strategies.fed_avg import FedAvg
from fl_server_ai.aggregation.strategies.fed_dc import FedDC
from fl_server_ai.aggregation.strategies.fed_median import FedMedian
from fl_server_ai.aggregation.strategies.fed_prox import FedProx
from fl_server_ai.aggregation.strategies.norm_bounded import NormBoundedFedAvg

STRATEGIES: dict[str, type[Strategy]] = {
    "FedAvg": FedAvg,
    "FedDC": FedDC,
    "FedProx": FedProx,
    "FedMedian": FedMedian,
    "FedAdam": FedAdam,
    "NormBoundedFedAvg": NormBoundedFedAvg,
}
"""By the names that a training's `aggregation_method` has."""


__all__ = ["STRATEGIES", "Strategy"]
