"""Of how many answers several trainings wait, counted at once."""

import pytest

from fl_server_ai.trainer.phases import phase_of
from fl_server_ai.trainer.progress import count_awaited
from fl_server_core.models import Metric, Training
from tests.factories import (
    LocalModelFactory,
    ModelFactory,
    NotificationFactory,
    TrainingFactory,
    UserFactory,
)

CALLS = {"update": "UPDATE_ROUND_START", "swag": "SWAG_ROUND_START", "test": "MODEL_TEST_ROUND"}


def wait(phase, users, state="O"):
    """Make a training in its third round that has asked these users for something."""
    training = TrainingFactory(model=ModelFactory(round=2), participants=users)
    Training.objects.filter(pk=training.pk).update(state=state, phase=phase, attempt=1)
    for user in users:
        NotificationFactory(training=training, receiver=user, type=CALLS[phase], round=2, attempt=1)
    return training


def present():
    return list(Training.objects.select_related("model"))


@pytest.fixture
def users(db):
    return UserFactory.create_batch(3)


def test_each_training_waits_for_those_who_have_not_answered(users, django_assert_num_queries):
    update, swag, test = (wait(phase, users) for phase in CALLS)
    LocalModelFactory(base_model=update.model, owner=users[0], round=2, attempt=1)
    LocalModelFactory(base_model=update.model, owner=users[1], round=1, attempt=1)  # an old one
    Metric.objects.bulk_create(
        Metric(model=test.model, reporter=user, key="loss", step=2, attempt=1, value_float=1.0)
        for user in users[:2]
    )
    trainings = present()
    with django_assert_num_queries(1):
        counts = count_awaited(trainings)
    assert counts == {update.pk: 2, swag.pk: 3, test.pk: 1}
    assert counts == {row.pk: phase_of(row).awaited().count() for row in trainings}


def test_what_does_not_run_waits_for_nobody(users, django_assert_num_queries):
    for state in "ICE":
        wait("update", users, state)
    trainings = present()
    with django_assert_num_queries(0):
        assert count_awaited(trainings) == {}
