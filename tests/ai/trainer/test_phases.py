"""What a phase's queries may depend on, because they are compiled once for all trainings."""

import pytest

from fl_server_ai.trainer import phases
from fl_server_ai.trainer.phases import UpdatePhase
from fl_server_core.models import Training
from tests.factories import ModelFactory, TrainingFactory, UserFactory

pytestmark = pytest.mark.django_db


class OfChosen(UpdatePhase):
    """Whose answers depend on an option."""

    def given_ever(self):
        return super().given_ever().filter(owner__username=self.training.options["chosen"])


def test_a_phase_whose_answers_depend_on_more_than_the_step_fails_at_once():
    training = TrainingFactory(options={"chosen": "ann"})
    with pytest.raises(Training.DoesNotExist):
        OfChosen(training).quorum()


@pytest.mark.parametrize("kind", phases.PHASES.values())
def test_each_training_is_asked_about_its_own_step(kind):
    for number in range(3):
        training = TrainingFactory(model=ModelFactory(round=number), attempt=number)
        user, other = UserFactory(), UserFactory()
        training.participants.add(user, other)
        phase = kind(training)
        for receiver in (user, other):
            training.notifications.create(
                receiver=receiver,
                type=kind.request,
                round=number,
                attempt=number,
                sequence=1,
                body={},
            )
        assert phase.quorum().asked == {user.pk, other.pk}
        assert phase.waits_for_others(user)
        training.participants.remove(other)
        assert phase.quorum().asked == {user.pk}
        assert not phase.waits_for_others(user)
        training.attempt += 1
        assert not kind(training).quorum().asked
