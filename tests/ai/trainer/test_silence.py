"""What has become of calls; `test_record.py` has each reason why there is no answer."""

from fl_server_ai.trainer.silence import Calls, Silence
from fl_server_core.models import Training


def told(training, **within):
    calls = Calls(Training.objects.get(pk=training.pk), **within)
    rows = calls.rows().order_by("sequence", "receiver__username")
    return [(row.type, row.round, row.receiver, calls.silence(row)) for row in rows]


def test_calls_of_some_rounds_and_people_are_read_alone(training, move, play, participants):
    anna, ben = participants
    move("start")
    play(1)
    assert told(training, people=[anna.pk]) == [
        ("UPDATE_ROUND_START", 0, anna, None),
        ("MODEL_TEST_ROUND", 1, anna, None),
        ("UPDATE_ROUND_START", 1, anna, Silence.AWAITED),
    ]
    assert {who for _, _, who, _ in told(training, first=0, last=0)} == {anna, ben}
    assert [number for _, number, _, _ in told(training, first=1, people=[ben.pk])] == [1, 1]
    assert told(training, people=[]) == []


def test_an_answer_that_came_too_late_is_one_all_the_same(training, move, play, participants):
    move("start")
    play(1)
    training.notifications.filter(round=0).update(state="missed")
    calls = Calls(Training.objects.get(pk=training.pk), last=0)
    assert [calls.silence(row) for row in calls.rows()] == 2 * [Silence.MISSED]
    assert [calls.has_answer(row) for row in calls.rows()] == [True, True]
