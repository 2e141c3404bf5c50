"""What participants are asked for, one file each; `PHASES` has them by name."""

from fl_server_ai.trainer.phases.base import Phase
from fl_server_ai.trainer.phases.swag import SwagPhase
from fl_server_ai.trainer.phases.test import TestPhase
from fl_server_ai.trainer.phases.update import UpdatePhase
from fl_server_ai.trainer.plan import FIRST
from fl_server_core.models import Training
from fl_server_core.models.training import PhaseName

PHASES: dict[str, type[Phase]] = {
    PhaseName.UPDATE: UpdatePhase,
    PhaseName.SWAG: SwagPhase,
    PhaseName.TEST: TestPhase,
}


def phase_of(training: Training) -> Phase:
    """Return the phase that a training is in; if in none, the first, which asks nobody yet."""
    return PHASES[training.phase or FIRST](training)


__all__ = ["PHASES", "Phase", "SwagPhase", "TestPhase", "UpdatePhase", "phase_of"]
