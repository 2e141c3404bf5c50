"""A method that isn't ours: how much the largest output is above the mean."""

from fl_server_ai.uncertainty.walk import Prediction, Run


def margin(run: Run) -> Prediction:
    output = run.output(run.members[0].fresh())
    best = output.max(1)
    return Prediction(best.indices, {"margin": best.values - output.mean(1)})
