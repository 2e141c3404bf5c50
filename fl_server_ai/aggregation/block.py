"""What a strategy sees of the updates, and what it may do with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from fl_server_ai.aggregation.means import mean_of_floats, mean_of_integers
from fl_server_ai.tensors import aligned


@dataclass(frozen=True)
class Cohort:
    """Whose updates are merged, in the order of a block's `values`.

    `weights` are positive integers of any size. `ages` say how many rounds have passed since the
    model that an update began from. `participants` is how many take part in the training, answered
    or not.
    """

    weights: Sequence[int]
    ages: Sequence[int]
    participants: int


@dataclass(frozen=True)
class Block:
    """A stretch of one tensor, as all updates of a round have it.

    `values` are one-dimensional, of one dtype and length, at least one, in an order that depends on
    the updates' content alone. `global_values` are the global model's where the strategy needs
    them, else there are none. `state` is there for float parameters, `scales` after a survey.
    """

    values: Sequence[Tensor]
    cohort: Cohort
    global_values: Tensor = field(default_factory=lambda: torch.empty(0))
    state: Mapping[str, Tensor] = field(default_factory=dict)
    scales: Sequence[float] = ()

    def part(self, part: slice, device: torch.device) -> Self:
        """Return a shorter one, on the device and at addresses that its types may have."""

        def taken(values: Tensor) -> Tensor:
            return aligned(values[part]).to(device)

        return replace(
            self,
            values=[taken(values) for values in self.values],
            global_values=taken(self.global_values),
            state={key: taken(values) for key, values in self.state.items()},
        )

    @property
    def is_float(self) -> bool:
        """Whether these are floating-point numbers; complex ones come as pairs of these."""
        return self.values[0].is_floating_point()

    def mean(
        self, values: Sequence[Tensor] | None = None, *, weights: Sequence[int] | None = None
    ) -> Tensor:
        """Return the weighted mean, of the block's values with the cohort's weights by default."""
        values = self.values if values is None else values
        mean = mean_of_floats if values[0].is_floating_point() else mean_of_integers
        return mean(values, self.cohort.weights if weights is None else weights)

    def changes(self) -> list[Tensor]:
        """Return each update's difference to the global model, in a wider dtype if there is one.

        It is 0 where the global model's value is no number, and finite everywhere.
        """
        wide = torch.float64 if self.values[0].element_size() > 2 else torch.float32
        base = self.global_values.to(wide)
        known = base.isfinite()
        return [(value.to(wide) - base).nan_to_num() * known for value in self.values]

    def moved(self, change: Tensor) -> Tensor:
        """Return the global model's values with a change made, in the change's dtype.

        However large the change is, the model's dtype has room for them; what was no number stays.
        """
        base, limits = self.global_values.to(change.dtype), torch.finfo(self.global_values.dtype)
        moved = (base + change).clamp(limits.min, limits.max)
        return torch.where(base.isfinite(), moved, base)

    def ranked(self) -> list[Tensor]:
        """Return the values sorted at each place: all the smallest first. NaN is the largest."""
        stacked = torch.stack(list(self.values))
        if self.is_float and stacked.element_size() == 1:  # which torch can't sort
            stacked = stacked.to(torch.float32)
        return list(stacked.sort(dim=0).values)
