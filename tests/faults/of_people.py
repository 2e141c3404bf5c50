"""Clients that say things twice, are somebody else, hang, go away, or are taken out."""

from functools import partial

from tests.e2e.crowd import at_once
from tests.e2e.people import Person
from tests.faults.backstage import Backstage
from tests.faults.participants import TEST
from tests.faults.registry import fault
from tests.faults.training import MIDDLE, Running


@fault()
def update_sent_twice(server: Backstage, training: Running) -> None:
    """The same update comes twice, and twice at once."""
    first = training.participants[0]
    send = partial(first.update, MIDDLE)
    statuses = [answer[0] for answer in (send(), send(), *at_once(send, send))]
    assert statuses == [201] * 4
    assert training.state()["local_models_arrived"] == len(training.participants) - 1


@fault()
def last_update_sent_often_at_once(server: Backstage, training: Running) -> None:
    """The update that completes the round comes 32 times at once."""
    statuses = [answer[0] for answer in at_once(*[partial(training.last.update, MIDDLE)] * 32)]
    assert 201 in statuses
    assert set(statuses) <= {201, 400}  # 400: the round is over
    training.silence()


@fault(moment=(TEST, MIDDLE + 1))
def metrics_sent_twice(server: Backstage, training: Running) -> None:
    """The same metrics come twice, and twice at once."""
    report = partial(training.participants[0].report, MIDDLE + 1)
    statuses = [answer[0] for answer in (report(), *at_once(report, report))]
    assert statuses == [201] * 3


@fault(moment=(TEST, MIDDLE + 1))
def metrics_by_a_stranger(server: Backstage, training: Running) -> None:
    """Somebody who takes no part reports metrics: 403, and nothing counts."""
    stranger = Person(training.actor.url)
    form = {"metric_names": ["accuracy"], "metric_values": [0.0]}
    stranger.ask("POST", f"/models/{training.model}/metrics/", data=form, expect=403)
    training.actor.ask("POST", f"/models/{training.model}/metrics/", data=form, expect=201)
    assert len(training.checkpoints()) == MIDDLE + 2
    assert training.state()["state"] == "O"


@fault()
def endpoint_answers_with_an_error(server: Backstage, training: Running) -> None:
    """A client answers a round's call with 500 and is removed; the others go on."""
    training.last_answers(lambda step: 500 if step[0] == TEST else 204)
    training.leave_out(training.last.number, updates_from=MIDDLE + 1, tests_from=MIDDLE + 1)
    training.answer()


@fault()
def endpoint_hangs_and_comes_back(server: Backstage, training: Running) -> None:
    """A client takes a message and doesn't answer in time; it is told again."""
    with training.last_hangs() as asked:
        training.answer()
        training.wait(asked.is_set)
        training.wait(lambda: server.has_failed_to_deliver(training))


@fault()
def endpoint_unreachable_and_back(server: Backstage, training: Running) -> None:
    """A client can't be reached at first; it is told once it can be."""
    training.last_answers(lambda step: None)
    training.answer()
    training.wait(lambda: server.has_failed_to_deliver(training))
    training.last_answers(None)
    server.hasten(training)


@fault(round={"quorum": 3})
def endpoint_unreachable_for_a_round(server: Backstage, training: Running) -> None:
    """A client that can't be reached at all is lost for the phase, and asked in the next."""
    training.last_answers(lambda step: None if step == (TEST, MIDDLE + 1) else 204)
    training.testers[MIDDLE + 1] -= {training.last.number}
    training.last.misses.add((TEST, MIDDLE + 1))
    training.answer()
    training.wait(lambda: server.hasten(training) or server.has_given_up(training))


@fault(round={"quorum": 3, "deadline_seconds": 600})
def silent_client_with_a_quorum(server: Backstage, training: Running) -> None:
    """A client accepts the call and stays silent: at the deadline the others are enough."""
    training.silence()
    training.contributors[MIDDLE] -= {training.last.number}
    server.expire_deadline(training)


@fault(round={"deadline_seconds": 600})
def silent_client_without_a_quorum(server: Backstage, training: Running) -> None:
    """Without a quorum the round is begun anew, then fails with the reason; resumed, it ends."""
    training.silence()
    training.attempt = 1
    server.expire_deadline(training)
    training.wait(lambda: server.attempt(training) == 1)
    others = len(training.participants) - 1
    training.wait(lambda: training.state()["local_models_arrived"] == others)
    server.expire_deadline(training)
    training.wait(lambda: training.has_failed)
    reason = f"Round {MIDDLE}: only 3 of 4 participants answered in time, 4 are needed."
    assert training.state()["state_reason"] == reason
    training.last.silent_at.clear()
    training.resume()


@fault()
def silent_participant_removed(server: Backstage, training: Running) -> None:
    """The one participant that hasn't answered is removed: the round ends without it."""
    training.silence()
    training.leave_out(training.last.number, updates_from=MIDDLE, tests_from=MIDDLE + 1)
    training.remove(training.last)


@fault()
def participant_removed_that_had_answered(server: Backstage, training: Running) -> None:
    """A participant is removed after its update: that doesn't count."""
    gone = training.participants[0]
    training.leave_out(gone.number, updates_from=MIDDLE, tests_from=MIDDLE + 1)
    training.remove(gone)
    training.answer()
