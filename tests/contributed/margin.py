"""How sure a model is, by how far its best class is ahead."""

from fl_server_ai.uncertainty.walk import Prediction, Run


def margin(run: Run) -> Prediction:
    """Return the best class, and how much its output is above the mean of all."""
    output = run.output(run.members[0].fresh())
    best = output.max(1)
    return Prediction(best.indices, {"margin": best.values - output.mean(1)})
