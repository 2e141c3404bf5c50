"""Whom the phases of a round ask: one draw holds for all of them."""

import pytest

from fl_server_ai.trainer.sampling import select
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Metric
from tests.ai.conftest import any_file
from tests.factories import UserFactory


@pytest.fixture
def people(training):
    """Ten participants, of whom two are drawn and three asked."""
    training.options = {"round": {"sample": 2, "over_selection": 1.5}}
    training.save()
    training.participants.set(UserFactory.create_batch(10, message_endpoint="http://client.test/"))
    return list(training.participants.all())


def asked(training, kind):
    """Return who is asked in the training's present round and attempt."""
    rows = training.notifications.filter(
        type=kind, round=training.model.round, attempt=training.attempt
    ).standing()
    return {row.receiver for row in rows.select_related("receiver")}


@pytest.fixture
def merged(training, people, move, update, merge):
    """Start, hand in what the first round needs, and merge; return who was asked."""
    move("start")
    drawn = asked(training, "UPDATE_ROUND_START")
    for user in sorted(drawn, key=lambda user: user.pk)[:2]:
        update(user)
    merge()
    return drawn


def test_whoever_is_asked_for_an_update_is_asked_for_the_test_of_what_it_made(training, merged):
    assert len(merged) == 3
    assert asked(training, "MODEL_TEST_ROUND") == merged


def test_whoever_is_asked_for_an_update_is_asked_for_moments_and_metrics(
    training, people, move, update, merge
):
    training.uncertainty_method = "SWAG"
    training.save()
    move("start")
    drawn = asked(training, "UPDATE_ROUND_START")
    for user in list(drawn)[:2]:
        update(user)
    merge()
    assert asked(training, "SWAG_ROUND_START") == drawn
    for user in list(drawn)[:2]:
        move(
            "receive_moments",
            owner=user,
            round=1,
            sample_size=1,
            first=any_file(),
            second=any_file(),
        )
    move("complete_swag", move("claim_merge", 1, 0), any_file(), any_file())
    assert asked(training, "MODEL_TEST_ROUND") == drawn


def test_the_draw_also_holds_where_participants_come_and_go_meanwhile(
    training, people, move, update, merge
):
    move("start")
    drawn = asked(training, "UPDATE_ROUND_START")
    gone, *others = drawn
    move("add_participants", UserFactory.create_batch(5))
    move("remove_participants", [gone, *[user for user in people if user not in drawn][:3]])
    for user in others:
        update(user)
    merge()
    assert asked(training, "MODEL_TEST_ROUND") == set(others)


def test_the_next_round_draws_anew(training, people, merged, report):
    for user in list(merged)[:2]:
        report(user)
    assert training.model.round == 1
    assert asked(training, "UPDATE_ROUND_START") == set(select(training, people))
    draws = set()
    for training.model.round in range(10):  # of which some may be the same by chance
        draws.add(frozenset(select(training, people)))
    assert len(draws) > 1


def test_a_test_that_is_begun_anew_draws_anew(training, merged, move):
    move("remove_participants", merged)
    assert (training.phase, training.attempt) == ("test", 1)
    assert len(asked(training, "MODEL_TEST_ROUND")) == 3


def test_a_report_of_somebody_not_in_the_sample_is_refused(training, people, merged, report):
    (other, *_) = [user for user in people if user not in merged]
    with pytest.raises(InvalidRequest, match=f"not asked in round 1 of training {training.pk}"):
        report(other)
    assert not Metric.objects.exists()


def test_such_a_report_is_refused_after_the_test_as_well(training, people, merged, report):
    for user in list(merged)[:2]:
        report(user)
    assert training.phase == "update"
    (other, *_) = [user for user in people if user not in merged]
    with pytest.raises(InvalidRequest, match="not asked in round 1"):
        report(other)


def test_the_owner_reports_whoever_is_asked(training, merged, report):
    report(training.model.owner)
    assert Metric.objects.count() == 1


def test_without_a_sample_whoever_takes_part_reports(training, participants, move, report):
    move("start")
    newcomer = UserFactory()
    move("add_participants", [newcomer])
    report(newcomer)
    assert Metric.objects.get().reporter == newcomer
