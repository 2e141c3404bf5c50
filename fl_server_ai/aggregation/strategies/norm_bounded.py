"""Norm bounding: Sun et al. 2019, "Can You Really Backdoor Federated Learning?", section 5.

https://arxiv.org/abs/1911.07963
"""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fl_server_ai.aggregation.strategies.base import Combined, Strategy
from fl_server_core.options import Options, Range, option

if TYPE_CHECKING:
    from fl_server_ai.aggregation.block import Block, Cohort


@dataclass(frozen=True, kw_only=True)
class NormBoundedOptions(Options):
    """How far an update may be from the global model."""

    bound: float = option(
        "The largest L2 norm of an update's change, over all its floats.",
        MISSING,
        within=Range(above=0),
    )


class NormBoundedFedAvg(Strategy):
    """As FedAvg, after each update that is too far from the global model was drawn nearer."""

    Options = NormBoundedOptions
    options: NormBoundedOptions
    needs_global = True
    surveys = True

    def measure(self, block: "Block") -> npt.ArrayLike:
        """Return each update's squared distance in this block."""
        return [change.square().sum().item() for change in block.changes()]

    def scale(self, measured: npt.NDArray[np.float64], cohort: "Cohort") -> Sequence[float]:  # noqa: ARG002
        """Return what part of its change each update may make."""
        norms = np.sqrt(measured)
        return [min(1.0, self.options.bound / norm) if norm else 1.0 for norm in norms.tolist()]

    def combine(self, block: "Block") -> Combined:
        """Average what is left of the updates."""
        if not block.is_float or min(block.scales) == 1:
            return Combined(block.mean())
        pairs = zip(block.values, block.changes(), block.scales, strict=True)
        kept = [
            value.to(change.dtype) if scale == 1 else block.moved(scale * change)
            for value, change, scale in pairs
        ]
        return Combined(block.mean(kept))
