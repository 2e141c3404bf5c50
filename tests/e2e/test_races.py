"""The last answers of a round, given at the same moment."""

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
import torch
from safetensors.torch import save
from torch import nn

from tests.e2e.people import Person

pytestmark = pytest.mark.e2e

ROUNDS = 50


def scripted(weight: float) -> bytes:
    layer = nn.Linear(2, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer), file)
    return file.getvalue()


def at_once(*calls):
    """Run the calls in threads that all start at the same moment."""
    barrier = Barrier(len(calls))

    def run(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_two_last_answers_at_once_advance_the_round_exactly_once(server):
    actor, first, second = Person(server), Person(server), Person(server)
    model = actor.upload_model(scripted(0.0))
    training = actor.open_training(model, [first, second], ROUNDS)
    actor.start(training)
    for number in range(ROUNDS):
        for person in (first, second):
            person.await_notification("UPDATE_ROUND_START", number)
        updates = [save({"weight": torch.full((1, 2), float(number + add))}) for add in (0, 2)]
        at_once(
            partial(first.update, model, number, updates[0], expect=201),
            partial(second.update, model, number, updates[1], expect=201),
        )
        for person in (first, second):
            person.await_notification("MODEL_TEST_ROUND", number + 1)
        at_once(partial(first.report, model), partial(second.report, model))
    for person in (actor, first, second):
        person.await_notification("TRAINING_FINISHED")
    steps = [("TRAINING_START", None)]
    for number in range(ROUNDS):
        steps += [("UPDATE_ROUND_START", number), ("MODEL_TEST_ROUND", number + 1)]
    steps += [("TRAINING_FINISHED", None)]
    for person in (first, second):
        seen = [(item["notification_type"], item["body"].get("round")) for item in person.seen]
        assert seen == steps
    result = torch.jit.load(io.BytesIO(actor.ask("GET", f"/models/{model}/")))
    assert torch.equal(result.weight, torch.full((1, 2), float(ROUNDS)))
    assert actor.ask("GET", f"/trainings/{training}/")["state"] == "C"
