"""The means of metrics that are kept with each version when its test has ended."""

import math

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


def test_names_may_be_anything(long, participants, to_test, move):
    to_test()
    metrics = [(name, 1e-300) for name in ("0", 'a"b', "ä.$[0]", "%s")]
    for user in participants:
        move("receive_metrics", model=long.model, reporter=user, metrics=metrics)
    assert kept(long, 1) == [dict(metrics)]
    assert all(metric_means(long, name) == {1: 1e-300} for name, _ in metrics)
