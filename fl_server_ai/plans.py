"""Which aggregation methods are on offer, and what a round of each does."""

from dataclasses import dataclass

from fl_server_core.models.training import AggregationMethod


@dataclass(frozen=True)
class RoundPlan:
    """`strategy` merges the updates: a key of `aggregation.STRATEGIES`."""

    strategy: str


# FedProx changes the participants' loss only; the server merges as for FedAvg.
PLANS = {
    AggregationMethod.FEDAVG: RoundPlan(strategy="FedAvg"),
    AggregationMethod.FEDPROX: RoundPlan(strategy="FedAvg"),
}
