"""Rows for tests, made with as little said as possible."""

import factory
from factory.django import DjangoModelFactory

from fl_server_core.models import LocalModel, Model, Notification, Training, User
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import AggregationMethod


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user-{n}")
    password = factory.django.Password("secret")


class ModelFactory(DjangoModelFactory):
    """A global model without a file."""

    class Meta:
        model = Model

    owner = factory.SubFactory(UserFactory)
    name = factory.Sequence(lambda n: f"model {n}")
    description = "made for a test"


class TrainingFactory(DjangoModelFactory):
    """An initial training; `participants=[...]` makes them take part."""

    class Meta:
        model = Training
        skip_postgeneration_save = True

    actor = factory.SubFactory(UserFactory)
    model = factory.SubFactory(ModelFactory, owner=factory.SelfAttribute("..actor"))
    target_num_updates = 2
    aggregation_method = AggregationMethod.FEDAVG

    @factory.post_generation
    def participants(self, create, extracted, **kwargs):
        self.participants.set(extracted or [])


class LocalModelFactory(DjangoModelFactory):
    class Meta:
        model = LocalModel

    owner = factory.SubFactory(UserFactory)
    base_model = factory.SubFactory(ModelFactory)
    sample_size = 1


class NotificationFactory(DjangoModelFactory):
    """A message to a receiver without an endpoint, not fetched yet."""

    class Meta:
        model = Notification

    training = factory.SubFactory(TrainingFactory)
    receiver = factory.SubFactory(UserFactory)
    type = NotificationType.TRAINING_START
    round = attempt = sequence = 0
    body = factory.Dict({})
