"""FedDC: Kamp, Fischer, Vreeken 2021, https://arxiv.org/abs/2110.03469."""

from fl_server_ai.aggregation.strategies.fed_avg import FedAvg


class FedDC(FedAvg):
    """As FedAvg, but every `daisy_chain_period` rounds; in the others, models are permuted."""
