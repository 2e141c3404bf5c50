"""Which strategies there are."""

from fl_server_ai.aggregation.fed_avg import FedAvg
from fl_server_ai.aggregation.strategy import Strategy

STRATEGIES: dict[str, type[Strategy]] = {"FedAvg": FedAvg}
