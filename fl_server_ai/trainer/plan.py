"""What the rounds of each method are like."""

from dataclasses import dataclass

from fl_server_ai.uncertainty.registry import METHODS
from fl_server_core.models import Training
from fl_server_core.models.training import PhaseName

FIRST = PhaseName.UPDATE
"""What every round begins with."""


@dataclass(frozen=True)
class Plan:
    """The phases of a round in their order, and how often its updates are merged.

    After every `period`-th round they are merged. After the others they are permuted: each
    participant goes on training somebody's. Kamp, Fischer, Vreeken 2021, "Federated Learning
    from Small Datasets", arXiv 2110.03469, algorithm 1.
    """

    phases: tuple[str, ...]
    period: int
    serves_updates: bool

    def merges_after(self, round: int) -> bool:
        """Tell whether this round's updates are merged."""
        return (round + 1) % self.period == 0

    def after(self, phase: str) -> str | None:
        """Return what follows a phase; None when the round ends with it."""
        rest = self.phases[self.phases.index(phase) + 1 :]
        return rest[0] if rest else None


def plan_of(training: Training) -> Plan:
    """Return the plan that the training's methods and options make."""
    method = METHODS[training.uncertainty_method]
    return Plan(
        phases=(FIRST, *([method.phase] if method.phase else []), PhaseName.TEST),
        period=training.typed_options.chain_period,
        serves_updates=method.members,
    )
