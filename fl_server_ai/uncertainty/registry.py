"""Which methods there are. Read by everybody, so nothing here imports torch."""

from dataclasses import dataclass

from fl_server_core.models.training import PhaseName


@dataclass(frozen=True)
class Method:
    """A method: where its function of a `Run` is, what the run must bring, and what it does.

    A runner imports the function's module before it is caged; see `terms.Terms`.
    """

    function: str
    passes: str
    answer: str = "the mean of the outputs"
    members: bool = False
    """Whether it needs the models of an ensemble, instead of one."""
    moments: bool = False
    """Whether it needs SWAG's moments of the weights."""
    phase: str = PhaseName.NONE
    """What its rounds ask for besides updates and metrics."""


_HERE = "fl_server_ai.uncertainty"
METHODS: dict[str, Method] = {
    "NONE": Method(
        f"{_HERE}.none.none", "one, in eval mode", "the likeliest class, `argmax(dim=1)`"
    ),
    "ENSEMBLE": Method(f"{_HERE}.ensemble.ensemble", "one of each member", members=True),
    "MC_DROPOUT": Method(
        f"{_HERE}.mc_dropout.mc_dropout", "N, with dropout on and all else in eval mode"
    ),
    "SWAG": Method(
        f"{_HERE}.swag.swag",
        "N, with weights drawn anew for each",
        moments=True,
        phase=PhaseName.SWAG,
    ),
}
"""By the name that a training's `uncertainty_method` is."""
