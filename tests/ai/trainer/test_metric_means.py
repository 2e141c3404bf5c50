"""The means of metrics that are kept with each version when its test has ended."""

import math

import numpy
import pytest

from fl_server_ai.trainer.checkpoints import metric_means
from fl_server_core.models import Checkpoint, Metric
from tests.factories import UserFactory


@pytest.fixture
def means(long):
    return lambda: metric_means(long, "accuracy")


@pytest.fixture
def to_test(long, participants, move, update, merge):
    """Go on to the test of the next version."""

    def call():
        if long.state == "I":
            move("start")
        for user in participants:
            update(user)
        merge()

    return call


def kept(training, round):
    return [row.metric_means for row in training.model.checkpoints.filter(round=round)]


def test_the_mean_is_over_those_who_were_asked(long, participants, to_test, report):
    to_test()
    report(long.actor, 100.0)
    report(participants[0], 0.2)
    assert kept(long, 1) == [None]
    report(participants[1], 0.4)
    assert kept(long, 1) == [{"accuracy": pytest.approx(0.3)}]
    assert metric_means(long, "accuracy") == {1: pytest.approx(0.3)}
    assert metric_means(long, "accuracy", {1, 2}) == {1: pytest.approx(0.3)}
    assert metric_means(long, "accuracy", {2}) == metric_means(long, "loss") == {}


def test_with_a_quorum_it_is_over_those_who_were_asked_and_in_time(
    long, participants, to_test, move, report, overdue, means
):
    long.options = {"round": {"quorum": 1, "deadline_seconds": 60}}
    long.save()
    to_test()
    new = UserFactory()
    move("add_participants", [new])
    report(new, 100.0)
    report(participants[0], 0.2)
    overdue()
    move("advance")
    assert means() == {1: 0.2}


def test_what_somebody_reported_who_then_left_counts(participants, to_test, move, report, means):
    to_test()
    report(participants[0], 0.5)
    move("remove_participants", participants[:1])
    report(participants[1], 1.0)
    assert means() == {1: 0.75}


def test_of_a_test_begun_anew_the_last_attempt_counts(
    long, participants, to_test, move, report, means
):
    to_test()
    report(participants[0], 100.0)
    move("retry")
    for user in participants:
        report(user, 0.5)
    assert means() == {1: 0.5}


def test_what_comes_after_the_round_changes_nothing(participants, move, play, report, means):
    move("start")
    play(1, [0.5])
    report(participants[0], 100.0)
    play(1, [0.7])
    assert means() == {1: 0.5, 2: 0.7}


def test_no_metrics_of_earlier_rounds_are_looked_at(long, move, play, means):
    best = {"metric": "accuracy"}
    long.options = {
        "round": {"stop_when": {"patience": 3, **best}},
        "checkpoints": {"last": 1, "best": best},
    }
    long.save()
    move("start")
    for value in (0.5, 0.9, 0.8, 0.7, 0.6):
        assert long.state == "O"
        play(1, [value])
        Metric.objects.all().delete()
    assert (long.state, long.model.round) == ("C", 5)
    assert [version.round for version in Checkpoint.objects.stored()] == [2, 5]


def test_a_version_that_was_left_behind_counts_until_another_of_its_round_was_tested(
    long, move, play, to_test, back, means
):
    move("start")
    play(2, [0.1, 0.2])
    back(1)
    assert means() == {1: 0.1}
    to_test()
    assert kept(long, 2) == [{"accuracy": 0.2}, None]
    assert means() == {1: 0.1, 2: 0.2}
    back(1)
    play(2, [0.8, 0.9])
    assert means() == {1: 0.1, 2: 0.8, 3: 0.9}
    assert kept(long, 2) == [{"accuracy": 0.2}, None, {"accuracy": 0.8}]


@pytest.mark.parametrize("value", [math.nan, math.inf, "good"])
def test_what_is_no_finite_number_is_left_out(participants, to_test, report, means, value):
    to_test()
    report(participants[0], value)
    report(participants[1], 0.5)
    assert means() == {1: 0.5}


@pytest.mark.parametrize("value", [math.nan, "good"])
def test_without_a_number_there_is_no_mean(long, move, play, means, value):
    long.options = {"round": {"stop_when": {"metric": "accuracy", "value": 0, "patience": 1}}}
    long.save()
    move("start")
    play(2, [value] * 2)
    assert (kept(long, 1), means(), long.state) == ([{}], {}, "O")


@pytest.mark.parametrize("value", [1e200, -1.7e308])
def test_one_too_large_to_be_averaged_costs_the_metric_its_mean(
    long, participants, to_test, move, report, value
):
    to_test()
    metrics = {"model": long.model, "reporter": participants[0], "metrics": [("loss", 0.5)]}
    move("receive_metrics", **metrics)
    for user in participants:
        report(user, value)
    assert kept(long, 1) == [{"loss": 0.5}]
    assert (long.state, long.phase) == ("O", "update")


@pytest.fixture
def weighted(long, participants, move, update, merge, report):
    """Play a round with these sample sizes and metrics, by person; return the weighted means."""

    def call(sizes, values):
        more = [UserFactory() for _ in sizes[len(participants) :]]
        move("add_participants", more)
        move("start")
        people = [*participants, *more]
        for user, size in zip(people, sizes, strict=True):
            update(user, sample_size=size)
        merge()
        for user, value in zip(people, values, strict=True):
            report(user, value)
        return Checkpoint.objects.get(model=long.model, round=1).weighted_means

    return call


@pytest.mark.parametrize("scale", [1.0, 1e100, -1e-300])
def test_the_weighted_mean_counts_by_samples(weighted, means, scale):
    sizes, values = (3, 1000, 5000), [scale * value for value in (0.2, 0.4, 0.9)]
    expected = numpy.average(values, weights=sizes)
    assert weighted(sizes, values) == {"accuracy": pytest.approx(expected, rel=1e-12)}
    assert means() == {1: pytest.approx(numpy.mean(values), rel=1e-12)}


def test_samples_may_be_as_many_as_one_can_say(weighted):
    sizes, values = (3, 1000, 2**62), (-0.2, 0.4, 1.0)
    expected = numpy.average(values, weights=sizes)
    assert weighted(sizes, values) == {"accuracy": pytest.approx(expected)}


@pytest.mark.parametrize("size", [0, None])
def test_who_has_no_samples_in_a_version_is_left_out_of_its_weighted_mean(weighted, means, size):
    assert weighted((10, size), (0.2, 0.8)) == {"accuracy": pytest.approx(0.2)}
    assert means() == {1: pytest.approx(0.5)}


def test_without_samples_there_is_no_weighted_mean(weighted):
    assert weighted((None, 0), (0.2, 0.8)) == {}


def test_one_too_large_costs_the_weighted_mean_too_if_it_has_samples(weighted):
    assert weighted((1, 2), (1e200, 0.5)) == {}


def test_who_tested_without_an_update_is_left_out_of_the_weighted_mean(
    long, participants, move, update, overdue, merge, report, means
):
    long.options = {"round": {"quorum": 1, "deadline_seconds": 60}}
    long.save()
    move("start")
    update(participants[0], sample_size=7)
    overdue()
    move("advance")
    merge()
    report(participants[0], 0.25)
    report(participants[1], 0.75)
    assert Checkpoint.objects.get(round=1).weighted_means == {"accuracy": 0.25}
    assert means() == {1: 0.5}


def test_names_may_be_anything(long, participants, to_test, move):
    to_test()
    metrics = [(name, 1e-300) for name in ("0", 'a"b', "ä.$[0]", "%s")]
    for user in participants:
        move("receive_metrics", model=long.model, reporter=user, metrics=metrics)
    assert kept(long, 1) == [dict(metrics)]
    assert all(metric_means(long, name) == {1: 1e-300} for name, _ in metrics)
