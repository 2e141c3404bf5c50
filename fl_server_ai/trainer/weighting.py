"""How much each participant's answer counts in a merge."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from fl_server_core.models import Model, Moments, Training


def weights_of(
    training: Training | None, answers: Iterable[Model] | Iterable[Moments]
) -> list[int]:
    """Return the weights of answers: reported sample sizes, within what `options.round` allows."""
    options = (training or Training()).typed_options.round
    sizes = [answer.sample_size or 0 for answer in answers]
    return weigh(sizes, max_size=options.max_sample_size, max_share=options.share_limit)


def shares_of(
    training: Training | None, answers: Iterable[Model] | Iterable[Moments]
) -> list[float]:
    """Return how much of the result each answer makes up, 1 being all."""
    weights = weights_of(training, answers)
    total = sum(weights)
    return [weight / total for weight in weights]


def weigh(
    sizes: Sequence[int], *, max_size: int | None = None, max_share: Fraction | None = None
) -> list[int]:
    """Return integers in the proportion of the sizes, none above `max_size` or `max_share` of all.

    Sizes that are all 0 count equally. What exceeds its share is cut to it, and the others' shares
    grow; where so few have samples that even equal ones exceed it, they count equally.
    """
    if not any(sizes):
        return [1] * len(sizes)
    capped = [size if max_size is None else min(size, max_size) for size in sizes]
    return capped if max_share is None else _cut(capped, max_share)


def _cut(sizes: Sequence[int], share: Fraction) -> list[int]:
    """Cut the k largest to the same c, the share of all: c = share * (k * c + the others)."""
    others = sum(sizes)
    for k, largest in enumerate(sorted(filter(None, sizes), reverse=True)):
        if k * share >= 1:
            break
        limit = share * others / (1 - k * share)
        if largest <= limit:
            return [min(size * limit.denominator, limit.numerator) for size in sizes]
        others -= largest
    return [1 if size else 0 for size in sizes]
