"""What every strategy promises."""

import pytest
import torch
from torch import Tensor

from fl_server_ai.aggregation import STRATEGIES
from fl_server_ai.aggregation.elements import ELEMENTS
from fl_server_ai.aggregation.strategy import Strategy

DTYPES = sorted(set(ELEMENTS.values()), key=str)


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return STRATEGIES[request.param]()


def random_bits(dtype: torch.dtype, seed: int) -> Tensor:
    """Finite values of any size, and -0 where there is one."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (4000,), generator=generator, dtype=torch.uint8).view(dtype)
    if dtype.is_floating_point:
        values = values[values.double().isfinite()]
    return torch.cat([values[:200], torch.zeros(1).neg().to(dtype)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equal_updates_combine_to_the_same_bits(strategy: Strategy, dtype: torch.dtype) -> None:
    values = random_bits(dtype, 1)
    combined = strategy.combine([values] * 5, [3, 2**60, 1, 0, 7])
    assert combined.dtype == dtype
    assert torch.equal(combined.view(torch.uint8), values.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_update_is_its_own_result(strategy: Strategy, dtype: torch.dtype) -> None:
    values = random_bits(dtype, 2)
    combined = strategy.combine([values], [17])
    assert torch.equal(combined.view(torch.uint8), values.view(torch.uint8))
    assert combined.data_ptr() != values.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_updates_are_not_changed(strategy: Strategy, dtype: torch.dtype) -> None:
    values = [(torch.arange(9) + seed).to(dtype) for seed in range(1, 5)]
    copies = [value.clone() for value in values]
    strategy.combine(values, [1, 2, 3, 4])
    for value, copy in zip(values, copies, strict=True):
        assert torch.equal(value.view(torch.uint8), copy.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_block_may_be_empty(strategy: Strategy, dtype: torch.dtype) -> None:
    empty = torch.empty(0, dtype=dtype)
    combined = strategy.combine([empty, empty], [1, 1])
    assert combined.dtype == dtype
    assert combined.shape == (0,)
