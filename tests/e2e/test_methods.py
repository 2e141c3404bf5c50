"""Trainings whose rounds are more than update, merge, test."""

import io

import pytest
import torch
from safetensors.torch import save

from tests.e2e.crowd import Mailboxes, listening
from tests.e2e.people import Person, wait_until
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


class StockMailboxes(Mailboxes):
    """Clients that know no SWAG, and say so as stock clients do."""

    def take(self, path, message):
        super().take(path, message)
        return 500 if message["notification_type"] == "SWAG_ROUND_START" else 204


def test_stock_clients_that_know_no_swag_finish_a_swag_training(server):
    with listening(StockMailboxes()) as (url, mailboxes):
        people = [Person(server, endpoint=f"{url}/{number}") for number in range(2)]
        actor = Person(server)
        model = actor.upload_model(scripted(0.0), type="SWAG")
        training = actor.open_training(model, people, 3, uncertainty_method="SWAG")
        actor.start(training)
        for number in range(3):
            mailboxes.await_all(people, training, ("UPDATE_ROUND_START", number))
            for person in people:
                content = save({"weight": torch.full((1, 2), number + 1.0)})
                person.update(model, number, content, expect=201)
            mailboxes.await_all(people, training, ("MODEL_TEST_ROUND", number + 1))
            for person in people:
                person.report(model)
        seen = wait_until(lambda: find_ended(actor, training))
        assert (seen["state"], len(seen["participants"])) == ("C", 2)
    # The merged models' weights were 1, 2, then 3; of the last two the deviation is 0.5.
    form = {"model_id": model, "model_input": [[1.0, 0.0]] * 3}
    answer = actor.ask("POST", "/inference/", json=form)
    assert all(0 < std[0] < 3 for std in answer["uncertainty"]["std"])


def find_ended(actor, training):
    """Return the training once it is over."""
    seen = actor.ask("GET", f"/trainings/{training}/")
    return seen if seen["state"] in "CE" else None
