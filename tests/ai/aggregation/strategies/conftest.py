"""Strategies with options that they work with, and blocks for them."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fl_server_ai.aggregation.block import Block, Cohort
from fl_server_ai.aggregation.strategies import STRATEGIES, Strategy

OPTIONS = {"NormBoundedFedAvg": {"bound": 0.5}}
"""Of the strategies that need some."""


def make(name: str) -> Strategy:
    kind = STRATEGIES[name]
    return kind(kind.Options.read(OPTIONS.get(name)))


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return make(request.param)


def block(
    strategy: Strategy,
    values: Sequence[Tensor],
    weights: Sequence[int] | None = None,
    *,
    base: Tensor | None = None,
    **more,
) -> Block:
    """All of a model in one block, surveyed if the strategy wants that."""
    cohort = Cohort(weights or [1] * len(values), [0] * len(values), len(values))
    base = values[0] if base is None else base
    whole = Block(values, cohort, global_values=base, **more)
    if not (strategy.surveys and whole.is_float):
        return whole
    measured = torch.tensor(strategy.measure(whole), dtype=torch.float64).numpy()
    scales = strategy.scale(measured, cohort)
    return Block(values, cohort, global_values=base, scales=scales, **more)
