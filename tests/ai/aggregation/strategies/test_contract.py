"""What every strategy promises."""

import re
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from fl_server_ai.aggregation.strategies import STRATEGIES, Strategy
from fl_server_ai.tensors import ELEMENTS
from tests.ai.aggregation.strategies.conftest import block
from tests.compose import ROOT

DTYPES = sorted(set(ELEMENTS.values()), key=str)
FOLDER = ROOT / "fl_server_ai" / "aggregation" / "strategies"


def random_bits(dtype: torch.dtype, seed: int) -> Tensor:
    """Finite values of any size, and -0 where there is one."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (4000,), generator=generator, dtype=torch.uint8).view(dtype)
    if dtype.is_floating_point:
        values = values[values.double().isfinite()]
    return torch.cat([values[:200], torch.zeros(1).neg().to(dtype)])


def combined(*args, **kwargs) -> Tensor:
    """As the engine stores it."""
    whole = block(*args, **kwargs)
    return args[0].combine(whole).values.to(whole.values[0].dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equal_updates_combine_to_the_same_bits(strategy: Strategy, dtype: torch.dtype) -> None:
    values = random_bits(dtype, 1)
    result = combined(strategy, [values] * 4, [3, 2**60, 1, 7])
    assert torch.equal(result.view(torch.uint8), values.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_update_is_its_own_result(strategy: Strategy, dtype: torch.dtype) -> None:
    values = random_bits(dtype, 2)
    result = combined(strategy, [values], [17])
    assert torch.equal(result.view(torch.uint8), values.view(torch.uint8))
    assert result.data_ptr() != values.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_updates_are_not_changed(strategy: Strategy, dtype: torch.dtype) -> None:
    values = [(torch.arange(9) + seed).to(dtype) for seed in range(1, 5)]
    copies = [value.clone() for value in values]
    combined(strategy, values, [1, 2, 3, 4], base=values[-1])
    for value, copy in zip(values, copies, strict=True):
        assert torch.equal(value.view(torch.uint8), copy.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_block_may_be_empty(strategy: Strategy, dtype: torch.dtype) -> None:
    empty = torch.empty(0, dtype=dtype)
    assert combined(strategy, [empty, empty]).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_state_stays_what_it_is_called_and_is_not_changed(
    strategy: Strategy, dtype: torch.dtype
) -> None:
    values = [torch.rand(7).to(dtype) for _ in range(3)]
    state = {name: torch.full((7,), start) for name, start in strategy.initial_state().items()}
    kept = {name: value.clone() for name, value in state.items()}
    result = strategy.combine(block(strategy, values, state=state))
    assert result.state.keys() == state.keys()
    assert all(value.shape == (7,) and value.isfinite().all() for value in result.state.values())
    assert all(torch.equal(state[name], kept[name]) for name in state)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_is_documented_with_its_options_and_has_a_test(name: str) -> None:
    strategy = STRATEGIES[name]
    chapters = re.split(r"^## ", (ROOT / "docs" / "aggregation.md").read_text(), flags=re.MULTILINE)
    [chapter] = [text for text in chapters if text.splitlines()[0] == name]
    assert "arxiv.org" in chapter
    assert all(f"`{option.name}`" in chapter for option in fields(strategy.Options))
    if strategy.combine is not STRATEGIES["FedAvg"].combine:
        file = strategy.__module__.rpartition(".")[2]
        assert (FOLDER / f"{file}.py").exists()
        assert (ROOT / "tests/ai/aggregation/strategies" / f"test_{file}.py").exists()
