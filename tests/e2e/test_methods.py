"""Trainings whose rounds are more than update, merge, test."""

import io

import pytest
import torch
from safetensors.torch import save

from tests.e2e.people import Person
from tests.e2e.test_races import scripted

pytestmark = pytest.mark.e2e

CHAIN = 2
MERGES = 2


def weights(content):
    return torch.jit.load(io.BytesIO(content)).weight.detach()


def steps(person):
    return [(item["notification_type"], item["body"].get("round")) for item in person.seen]


def test_a_daisy_chain_loses_nobodys_training(server):
    actor, *people = (Person(server) for _ in range(4))
    model = actor.upload_model(scripted(0.0))
    training = actor.open_training(
        model, people, MERGES, aggregation_method="FedDC", options={"daisy_chain_period": CHAIN}
    )
    actor.start(training)
    for number in range(CHAIN * MERGES):
        trained = set()
        for person, step in zip(people, (1.0, 2.0, 6.0), strict=True):
            call = person.await_notification("UPDATE_ROUND_START", number)
            mine = call["body"]["global_model_uuid"]
            trained.add(mine)
            learned = weights(person.ask("GET", f"/models/{mine}/")) + step
            person.update(mine, number, save({"weight": learned}), expect=201)
        assert (trained == {model}) if number % CHAIN == 0 else (len(trained - {model}) == 3)
        if number % CHAIN == CHAIN - 1:
            for person in people:
                person.await_notification("MODEL_TEST_ROUND", number + 1)
                person.report(model)
    actor.await_notification("TRAINING_FINISHED")
    # Whoever got whose, each local round moves the models' mean by the mean step of 3.
    result = weights(actor.ask("GET", f"/models/{model}/"))
    assert torch.equal(result, torch.full((1, 2), 3.0 * CHAIN * MERGES))


def test_swag_rounds_come_between_merge_and_test(server):
    actor, *people = (Person(server) for _ in range(3))
    model = actor.upload_model(scripted(0.0), type="SWAG")
    training = actor.open_training(model, people, 1, uncertainty_method="SWAG")
    actor.start(training)
    for person in people:
        person.await_notification("UPDATE_ROUND_START", 0)
        person.update(model, 0, save({"weight": torch.ones(1, 2)}), expect=201)
    moment = save({"weight": torch.ones(1, 2)})
    for person in people:
        person.await_notification("SWAG_ROUND_START", 1)
        assert actor.ask("GET", f"/trainings/{training}/")["state"] == "S"
        files = {"first_moment_file": moment, "second_moment_file": moment}
        form = {"round": 1, "sample_size": 1}
        person.ask("POST", f"/models/{model}/swag/", data=form, files=files, expect=201)
    for person in people:
        person.await_notification("MODEL_TEST_ROUND", 1)
        person.report(model)
    for person in people:
        person.await_notification("TRAINING_FINISHED")
        assert steps(person) == [
            ("TRAINING_START", None),
            ("UPDATE_ROUND_START", 0),
            ("SWAG_ROUND_START", 1),
            ("MODEL_TEST_ROUND", 1),
            ("TRAINING_FINISHED", None),
        ]
