"""Ending a training early: `options.round.stop_when`, read."""

from fl_server_ai.trainer.checkpoints import metric_means
from fl_server_core.models import Training


def reason_to_stop(training: Training) -> str:
    """Return why no further round is needed, after a round's tests; "" if one is.

    The metric's mean over those who reported it has reached `value`, or hasn't got better by
    more than `min_delta` in the last `patience` tested rounds. Goodfellow, Bengio, Courville
    2016, "Deep Learning", section 7.8, algorithm 7.1.
    """
    wanted = training.typed_options.round.stop_when
    if not wanted:
        return ""
    value, patience = wanted.value, wanted.patience
    rounds = None if patience else {training.round}  # the others have had their say
    means = list(metric_means(training, wanted.metric, rounds).values())
    scores = [wanted.sign * mean for mean in means]
    if scores and value is not None and scores[-1] >= wanted.sign * value:
        return f"Stopped early: the mean of {wanted.metric} has reached {means[-1]:g}."
    if patience and len(scores) > patience:
        before, since = max(scores[:-patience]), max(scores[-patience:])
        if since <= before + wanted.min_delta:
            return f"Stopped early: {wanted.metric} hasn't improved for {patience} rounds."
    return ""
