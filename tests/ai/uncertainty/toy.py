"""An uncertainty method that isn't ours, apart from what needs Django: a runner has none."""

from fl_server_ai.uncertainty.walk import Prediction, Run


def margin(run: Run) -> Prediction:
    """How much the largest output is above the mean."""
    output = run.output(run.members[0].fresh())
    best = output.max(1)
    return Prediction(best.indices, {"margin": best.values - output.mean(1)})
