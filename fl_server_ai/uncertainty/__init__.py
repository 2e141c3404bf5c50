"""How a prediction's uncertainty is found: one file per method, all walking the same way.

A method is a function of a `Run`. All but NONE run the model several times, differently, and
`walk` makes mean, spread and entropies of the outputs.
"""

from collections.abc import Callable

from fl_server_ai.uncertainty.ensemble import ensemble
from fl_server_ai.uncertainty.mc_dropout import mc_dropout
from fl_server_ai.uncertainty.none import none
from fl_server_ai.uncertainty.swag import swag
from fl_server_ai.uncertainty.walk import Prediction, Run, walk

METHODS: dict[str, Callable[[Run], Prediction]] = {
    "NONE": none,
    "MC_DROPOUT": mc_dropout,
    "ENSEMBLE": ensemble,
    "SWAG": swag,
}
"""By the names of `UncertaintyMethod`, which a runner without Django can't import."""

__all__ = ["METHODS", "Prediction", "Run", "walk"]
