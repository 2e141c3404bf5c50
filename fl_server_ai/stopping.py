"""Ending a training early: `options.round.stop_when`, read."""

from typing import Any

from fl_server_ai.history import MIN, metric_means
from fl_server_core.models import Training


def reason_to_stop(training: Training) -> str:
    """Return why no further round is needed, after a round's tests; "" if one is.

    The metric's mean over those who reported it has reached `value`, or hasn't got better by
    more than `min_delta` in the last `patience` tested rounds. Goodfellow, Bengio, Courville
    2016, "Deep Learning", section 7.8, algorithm 7.1.
    """
    wanted: dict[str, Any] | None = (training.options.get("round") or {}).get("stop_when")
    if not wanted:
        return ""
    name, sign = wanted["metric"], -1 if wanted.get("goal") == MIN else 1
    means = list(metric_means(training, name).values())
    scores = [sign * mean for mean in means]
    value, patience = wanted.get("value"), wanted.get("patience")
    if scores and value is not None and scores[-1] >= sign * value:
        return f"Stopped early: the mean of {name} has reached {means[-1]:g}."
    if patience and len(scores) > patience:
        before, since = max(scores[:-patience]), max(scores[-patience:])
        if since <= before + wanted.get("min_delta", 0):
            return f"Stopped early: {name} hasn't improved for {patience} rounds."
    return ""
