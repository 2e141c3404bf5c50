"""What the rounds of each method are like."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from fl_server_core.models import LocalModel, Training, User
from fl_server_core.models.training import AggregationMethod, Phase, UncertaintyMethod
from fl_server_core.options import MomentsBy

# The strategy that merges, a key of `aggregation.STRATEGIES`. FedProx changes the participants'
# loss only, FedDC only how often there is a merge.
STRATEGY = {
    AggregationMethod.FEDAVG: "FedAvg",
    AggregationMethod.FEDDC: "FedAvg",
    AggregationMethod.FEDPROX: "FedAvg",
}


@dataclass(frozen=True)
class RoundPlan:
    """What follows once a round's updates are there.

    After every `period`-th round they are merged. After the others they are permuted: each
    participant goes on training somebody's. Kamp, Fischer, Vreeken 2021, "Federated Learning
    from Small Datasets", arXiv 2110.03469, algorithm 1.
    """

    strategy: str
    period: int
    has_swag_rounds: bool
    moments_by: MomentsBy
    serves_updates: bool

    def merges_after(self, round: int) -> bool:
        """Tell whether this round's updates are merged."""
        return (round + 1) % self.period == 0

    @property
    def after_merge(self) -> Phase:
        """What the participants are asked for next."""
        return Phase.SWAG if self.has_swag_rounds else Phase.TEST


def plan_of(training: Training) -> RoundPlan:
    """Return the plan that the training's methods and options make."""
    options = training.typed_options
    return RoundPlan(
        strategy=STRATEGY[AggregationMethod(training.aggregation_method)],
        period=options.chain_period,
        has_swag_rounds=training.uncertainty_method == UncertaintyMethod.SWAG,
        moments_by=options.uncertainty.swag,
        serves_updates=training.uncertainty_method == UncertaintyMethod.ENSEMBLE,
    )


def deal_models(training: Training, users: Sequence[User]) -> dict[uuid.UUID, uuid.UUID]:
    """Return by user which update of the round before each goes on training, at random.

    The messages that hand them out are the record of who got whose. With more users than
    updates the rest goes on from the global model, as everybody does after a merge.
    """
    updates = LocalModel.objects.visible().filter(
        base_model=training.model_id, round=training.round - 1
    )
    dealt = list(updates.values_list("pk", flat=True))
    random.SystemRandom().shuffle(dealt)
    return {user.pk: pk for user, pk in zip(users, dealt, strict=False)}
