"""FedProx: Li et al. 2020, https://arxiv.org/abs/1812.06127."""

from fl_server_ai.aggregation.strategies.fed_avg import FedAvg


class FedProx(FedAvg):
    """As FedAvg; the participants add a proximal term to the loss that they train with."""
