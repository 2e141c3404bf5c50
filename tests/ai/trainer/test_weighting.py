"""How sample sizes become weights: against what fractions say."""

from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fl_server_ai.trainer.weighting import weigh

HUGE = 2**63 - 1
sizes = st.lists(st.integers(0, HUGE), min_size=1, max_size=8)
shares = st.fractions(Fraction(1, 20), 1, max_denominator=1000)


def test_without_limits_weights_are_the_sample_sizes():
    assert weigh([3, 0, HUGE]) == [3, 0, HUGE]


def test_who_all_have_no_samples_count_equally():
    assert weigh([0, 0], max_size=5, max_share=Fraction(1, 10)) == [1, 1]


def test_a_larger_sample_size_counts_as_the_limit():
    assert weigh([3, 5, HUGE], max_size=5) == [3, 5, 5]


@pytest.mark.parametrize(
    ("reported", "share", "expected"),
    [
        ([HUGE, 10, 10], Fraction(1, 2), [2, 1, 1]),
        ([HUGE, HUGE, 10], Fraction(2, 5), [2, 2, 1]),
        ([10, 10], Fraction(1, 2), [1, 1]),
        ([90, 10], Fraction(1, 2), [1, 1]),
        ([90, 10], Fraction(1, 10), [1, 1]),
        ([HUGE, 10, 0], Fraction(9, 10), [9, 1, 0]),
        ([0, 1], Fraction(1, 20), [0, 1]),
    ],
)
def test_nobody_makes_up_more_than_its_share(reported, share, expected):
    weights = weigh(reported, max_share=share)
    assert [Fraction(w, sum(weights)) for w in weights] == [
        Fraction(w, sum(expected)) for w in expected
    ]


@given(sizes, shares)
def test_a_share_is_kept_wherever_it_can_be_and_nobody_overtakes(reported, share):
    weights = weigh(reported, max_share=share)
    total, counted = sum(weights), sum(weight > 0 for weight in weights)
    assert max(Fraction(weight, total) for weight in weights) <= max(share, Fraction(1, counted))
    for size, weight in zip(reported, weights, strict=True):
        assert all(weight <= w for s, w in zip(reported, weights, strict=True) if size <= s)
        assert (size > 0) == (weight > 0) or not any(reported)


@given(sizes, shares)
def test_who_is_below_its_share_keeps_its_proportion_to_others_below(reported, share):
    weights = weigh(reported, max_share=share)
    below = [pair for pair in zip(reported, weights, strict=True) if pair[1] < max(weights)]
    assert len({Fraction(weight, size) for size, weight in below if size}) <= 1
