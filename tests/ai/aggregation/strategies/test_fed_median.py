"""Yin et al. 2018, https://arxiv.org/abs/1803.01498, section 4: against numpy."""

import numpy as np
import pytest
import torch

from fl_server_ai.aggregation.strategies.fed_median import FedMedian
from tests.ai.aggregation.strategies.conftest import block


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_is_numpys_median(count, dtype):
    values = [torch.randn(500, dtype=dtype) for _ in range(count)]
    result = FedMedian().combine(block(FedMedian(), values, [2**60, *range(1, count)])).values
    stacked = np.stack([value.double().numpy() for value in values])
    rounding = 2 * torch.finfo(dtype).eps * np.abs(stacked).max()
    assert np.allclose(result.double().numpy(), np.median(stacked, axis=0), rtol=0, atol=rounding)


def test_of_integers_the_middle_is_rounded_upwards_at_halves():
    values = [torch.tensor(column) for column in ([1, -9, 5], [2, -4, 5], [4, 0, 2**62], [9, 1, 0])]
    result = FedMedian().combine(block(FedMedian(), values)).values
    assert result.tolist() == [3, -2, 5]


def test_truth_values_go_with_the_majority():
    values = [torch.tensor(bits, dtype=torch.uint8) for bits in ([1, 0], [1, 0], [0, 1])]
    assert FedMedian().combine(block(FedMedian(), values)).values.tolist() == [1, 0]


def test_fewer_than_half_of_the_updates_move_it_no_further_than_the_others_do():
    honest = [torch.full((3,), value) for value in (0.9, 1.0, 1.1)]
    hostile = [torch.full((3,), value) for value in (1e30, -1e30)]
    result = FedMedian().combine(block(FedMedian(), [*honest, *hostile])).values
    assert 0.9 <= result.min() <= result.max() <= 1.1


def test_values_that_are_no_numbers_in_the_model_stay():
    values = [torch.tensor([torch.nan, torch.inf, 1.0])] * 3
    result = FedMedian().combine(block(FedMedian(), values)).values.float()
    assert torch.equal(result.view(torch.int32), values[0].view(torch.int32))
