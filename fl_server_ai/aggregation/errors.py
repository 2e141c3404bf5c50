"""What can be wrong with a round's updates; every message is a sentence for the actor.

    AggregationError
    ├── NothingToMerge      no updates
    ├── Unusable            a file is damaged, or has other tensors than the global model
    └── NoMean              the values have no mean that could be stored

All are final: another try would end the same way.
"""


class AggregationError(Exception):
    """Updates that can't be merged."""


class NothingToMerge(AggregationError):
    """There is no update."""


class Unusable(AggregationError):
    """A file can't be read, or an update's tensors aren't the global model's."""


class NoMean(AggregationError):
    """They differ in NaN or infinite values, or in a type that can't be averaged.

    Admission sees to it that no update gets so far.
    """
