"""Upgrading a server whose trainings are under way."""

import uuid

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from fl_server_ai.trainer import ModelTrainer
from fl_server_core.files import StoredFile
from fl_server_core.models import Notification, Training, User
from fl_server_core.models.token import find_token

APP = "fl_server_core"


def migrate(name):
    executor = MigrationExecutor(connection)
    executor.migrate([(APP, name)])
    return executor.loader.project_state([(APP, name)]).apps


def migrate_to_newest():
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes(APP))


@pytest.fixture
def one_migration_back(transactional_db):
    """The rows' classes as they were before the newest migration; it is applied afterwards."""
    graph = MigrationExecutor(connection).loader.graph
    [(_, newest)] = graph.leaf_nodes(APP)
    [previous] = [name for app, name in graph.node_map[(APP, newest)].parents if app == APP]
    yield migrate(previous), lambda: migrate(newest)
    migrate(newest)


def fill(apps):
    """Store a training that waits for one of two updates."""
    row = {name: apps.get_model(APP, name) for name in ("User", "Model", "Training")}
    actor, first, second = (row["User"].objects.create(username=n) for n in ("a", "b", "c"))
    model = row["Model"].objects.create(owner=actor, kind="GLOBAL", name="m", file="m", round=1)
    training = row["Training"].objects.create(
        model=model,
        actor=actor,
        state="O",
        phase="update",
        target_num_updates=2,
        aggregation_method="FedAvg",
    )
    training.participants.set([first, second])
    for user in (first, second):
        apps.get_model(APP, "Notification").objects.create(
            training=training,
            receiver=user,
            type="UPDATE_ROUND_START",
            round=1,
            attempt=0,
            sequence=1,
            body={"round": 1, "global_model_uuid": str(model.pk)},
            delivered_at=timezone.now(),
        )
    row["Model"].objects.create(
        owner=first, kind="LOCAL", base_model=model, round=1, sample_size=1, file="u"
    )
    return training.pk


def test_tokens_of_the_former_app_are_taken_over(transactional_db):
    before = migrate("0006_training_judge_at")
    try:
        ann = before.get_model(APP, "User").objects.create(username="ann")
        kind = connection.data_types["UUIDField"]
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE authtoken_token (key varchar(40), user_id {kind})")
            stored = ann.pk.hex if connection.vendor == "sqlite" else ann.pk
            cursor.execute("INSERT INTO authtoken_token VALUES (%s, %s)", ["a1" * 20, stored])
        migrate_to_newest()
        assert find_token("a1" * 20).user.username == "ann"
        assert User.objects.get().auth_token.key == "a1" * 20
        assert "authtoken_token" not in connection.introspection.table_names()
    finally:
        migrate_to_newest()


NOW = timezone.now()
TOLD = {
    "pending": {},
    "delivered": {"delivered_at": NOW},
    "failed": {"delivered_at": NOW, "failed_at": NOW, "error": "HTTP 500"},
    "missed": {"delivered_at": NOW, "failed_at": NOW, "error": "The round closed without it."},
    "withdrawn": {"failed_at": NOW, "withdrawn_at": NOW, "error": "HTTP 500"},
}


def test_messages_states_are_what_their_times_said(transactional_db):
    before = migrate("0009_token")
    try:
        fill(before)
        row = before.get_model(APP, "Notification")
        shared = ("training_id", "receiver_id", "type", "attempt", "body")
        message = row.objects.values(*shared).first()
        for number, times in enumerate(TOLD.values()):
            row.objects.create(**message, round=10 + number, sequence=number, **times)
        migrate("0010_notification_state")
        rows = Notification.objects.filter(round__gte=10).order_by("round")
        assert [row.state for row in rows] == list(TOLD)
        assert {row.state for row in rows if row.failed_at} == {"failed", "withdrawn"}
        back = migrate("0009_token").get_model(APP, "Notification").objects
        assert back.get(round=13).error == TOLD["missed"]["error"]
        assert back.get(round=14).withdrawn_at
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes(APP))


def test_a_running_training_goes_on_after_an_upgrade(one_migration_back):
    old, upgrade = one_migration_back
    training_id = fill(old)
    upgrade()
    users = {user.username: user for user in User.objects.all()}
    file = StoredFile(name=str(uuid.uuid4()), sha256="0" * 64, size=1)
    with ModelTrainer.locked(training_id) as trainer:
        trainer.receive_update(owner=users["c"], round=1, sample_size=1, file=file)
    with ModelTrainer.locked(training_id) as trainer:
        claim = trainer.claim_merge(1, 0)
    assert len(claim.merge.updates) == 2
    with ModelTrainer.locked(training_id) as trainer:
        trainer.complete_merge(claim, file)
    for name in ("b", "c"):
        with ModelTrainer.locked(training_id) as trainer:
            model = trainer.training.model
            trainer.receive_metrics(model=model, reporter=users[name], metrics=[("loss", 1.0)])
    training = Training.objects.get(pk=training_id)
    assert (training.state, training.model.round) == ("C", 2)
