"""The means against an oracle of exact fractions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fl_server_ai.aggregation.errors import NoMean
from fl_server_ai.aggregation.means import mean_of_floats, mean_of_integers

FLOATS = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
]
INTEGERS = [
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint64,
    torch.uint32,
    torch.uint16,
    torch.uint8,
]
WEIGHTS = [[1, 1, 1], [3, 1, 5], [1, 10**6, 1], [2**60, 2**60 - 1, 2**60 + 7]]


def exact_mean(values: list[Tensor], weights: list[int], index: int) -> Fraction:
    """The mean of one element; every float is a fraction."""
    numbers = [Fraction(value[index].double().item()) for value in values]
    return sum(n * w for n, w in zip(numbers, weights, strict=True)) / sum(weights)


def gap(value: Tensor) -> Fraction:
    """The larger distance to the two numbers of its dtype that are next to it."""
    bits = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}[value.element_size()]
    near = [(value.view(bits) + step).view(value.dtype).double().item() for step in (-1, 0, 1)]
    low, middle, high = map(Fraction, near)
    return max(abs(high - middle), abs(middle - low))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_have_the_mean_of_exact_fractions(dtype: torch.dtype, weights: list[int]) -> None:
    generator = torch.Generator().manual_seed(3)
    values = [(torch.randn(50, generator=generator) * 4 + 9).to(dtype) for _ in weights]
    mean = mean_of_floats(values, weights)
    assert mean.dtype == dtype
    for index in range(50):
        error = Fraction(mean[index].double().item()) - exact_mean(values, weights, index)
        if dtype in (torch.float64, torch.float32):  # computed in itself: some roundings of a value
            assert abs(error) <= 2 * max(gap(value[index : index + 1]) for value in values)
        else:  # rounded once, from what is so much wider that its own error hardly shows
            assert abs(error) <= 0.51 * gap(mean[index : index + 1])


@pytest.mark.parametrize(("count", "roundings"), [(32, 4), (100, 3), (1000, 2)])
def test_the_mean_of_many_is_as_near_to_the_exact_one_as_that_of_a_few(
    count: int, roundings: int
) -> None:
    generator = torch.Generator().manual_seed(count)
    model = torch.randn(5000, generator=generator)
    values = [model + 0.01 * torch.randn(5000, generator=generator) for _ in range(count)]
    weights = torch.randint(1, 1000, (count,), generator=generator).tolist()
    exact = np.average([value.double().numpy() for value in values], 0, weights)
    largest = np.abs([value.numpy() for value in values]).max(0)
    error = np.abs(mean_of_floats(values, weights).double().numpy() - exact)
    assert (error <= roundings * np.spacing(largest)).all()


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [
        (torch.float64, 1.7976931348623157e308),
        (torch.float32, 3.4028234663852886e38),
        (torch.float16, 65504),
        (torch.bfloat16, 3.3895313892515355e38),
        (torch.float8_e4m3fn, 448),
        (torch.float8_e5m2, 57344),
    ],
    ids=str,
)
def test_the_largest_values_do_not_overflow(dtype: torch.dtype, largest: float) -> None:
    values = [torch.tensor([largest, -largest], dtype=torch.float64).to(dtype)] * 7
    mean = mean_of_floats(values, [3, 1, 4, 1, 5, 9, 2])
    assert mean.double().tolist() == [largest, -largest]


def test_float32_survives_opposite_extremes() -> None:
    largest = torch.finfo(torch.float32).max
    assert mean_of_floats([torch.tensor([largest]), torch.tensor([-largest])], [1, 1]).item() == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("weights", [[1, 1, 2], [5, 1, 4], [1, 9, 1]])
def test_opposite_extremes_have_a_mean_in_every_type(
    dtype: torch.dtype, weights: list[int]
) -> None:
    largest = torch.tensor([torch.finfo(dtype).max, 3.0], dtype=dtype)
    values = [largest, -largest, largest]
    mean = mean_of_floats(values, weights)
    for index in range(2):
        error = Fraction(mean[index].double().item()) - exact_mean(values, weights, index)
        assert abs(error) <= 2 * gap(values[0][index : index + 1].abs() * 0.9)


def not_finite(dtype: torch.dtype) -> Tensor:
    """All that isn't finite in the type: NaN with any bits, infinities."""
    if dtype.itemsize > 2:
        kind = {4: torch.int32, 8: torch.int64}[dtype.itemsize]
        special = torch.tensor([torch.nan, -torch.nan, torch.inf, -torch.inf], dtype=dtype)
        return torch.cat([special, (special.view(kind) ^ 5).view(dtype)[:2]])
    count = 256**dtype.itemsize
    bits = torch.arange(count).to({1: torch.uint8, 2: torch.uint16}[dtype.itemsize])
    values = bits.view(dtype)
    return bits[~values.float().isfinite()].view(dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.float8_e8m0fnu], ids=str)
def test_what_all_agree_on_stays_to_the_bit_also_where_it_is_no_number(dtype: torch.dtype) -> None:
    kept, numbers = not_finite(dtype), torch.tensor([1.0, 2.0]).to(dtype)
    updates = [
        torch.cat([kept.view(torch.uint8), n.view(torch.uint8)]).view(dtype)
        for n in (numbers[:1], numbers[1:], numbers[:1])
    ]
    mean = mean_of_floats(updates, [1, 3, 2])
    assert torch.equal(mean[:-1].view(torch.uint8), kept.view(torch.uint8))
    expected = mean_of_floats([numbers[:1], numbers[1:], numbers[:1]], [1, 3, 2])
    assert mean[-1:].float() == expected.float()


@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("dtype", FLOATS[:4], ids=str)
def test_what_all_agree_on_keeps_the_sign_of_zero(dtype: torch.dtype, count: int) -> None:
    value = torch.tensor([-0.0, 0.0, 1.0, -0.0] * 9, dtype=dtype)
    mean = mean_of_floats([value] * count, list(range(1, count + 1)))
    assert torch.equal(mean.view(torch.uint8), value.view(torch.uint8))


@pytest.mark.parametrize("kept", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_value_that_is_no_number_stays_until_all_give_one(kept: float, order) -> None:
    values = [torch.tensor([kept, 1.0]), torch.tensor([7.0, 3.0])]
    mean = mean_of_floats([values[index] for index in order], [1, 1])
    assert torch.equal(mean.view(torch.int32), torch.tensor([kept, 2.0]).view(torch.int32))


def test_values_that_are_no_numbers_and_differ_are_refused() -> None:
    with pytest.raises(NoMean):
        mean_of_floats([torch.tensor([torch.nan]), torch.tensor([torch.inf])], [1, 1])
    with pytest.raises(NoMean):
        mean_of_floats([torch.tensor([-torch.inf]), torch.tensor([torch.inf])], [1, 1])


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_round_their_exact_mean_halves_upwards(dtype: torch.dtype) -> None:
    info = np.iinfo(str(dtype).removeprefix("torch."))
    numbers = [[info.min, info.max, 0, 1, 7], [info.max, info.max, 1, 2, 8], [5, info.max, 0, 3, 7]]
    for weights in [[1, 1, 1], [1, 1, 2], [1, 2**62, 2**62 - 1]]:
        values = [torch.tensor(row, dtype=dtype) for row in numbers]
        mean = mean_of_integers(values, weights)
        assert mean.dtype == dtype
        assert mean.tolist() == [rounded(column, weights) for column in zip(*numbers, strict=True)]


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**61)), min_size=1, max_size=9
    )
)
def test_integers_of_any_size_are_exact(pairs: list[tuple[int, int]]) -> None:
    numbers, weights = zip(*pairs, strict=True)
    values = [torch.tensor([number]) for number in numbers]
    assert mean_of_integers(values, weights).tolist() == [rounded(numbers, weights)]


def rounded(numbers: tuple[int, ...], weights: list[int]) -> int:
    """The mean, rounded to the nearest integer and halves upwards."""
    total = sum(n * w for n, w in zip(numbers, weights, strict=True))
    return floor(Fraction(total, sum(weights)) + Fraction(1, 2))
