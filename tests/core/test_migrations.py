"""Upgrading a server whose trainings are under way."""

import uuid

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from fl_server_ai.trainer import ModelTrainer
from fl_server_core.files import StoredFile
from fl_server_core.models import Checkpoint, Notification, Training, User
from fl_server_core.models.token import find_token

APP = "fl_server_core"


def migrate(name):
    executor = MigrationExecutor(connection)
    executor.migrate([(APP, name)])
    return executor.loader.project_state([(APP, name)]).apps


def migrate_to_newest():
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes(APP))


@pytest.fixture(params=["0009_token", "the last but one"])
def earlier(request, transactional_db):
    """The rows' classes as they were before, and what upgrades; the newest are there afterwards."""
    name = request.param if request.param.startswith("0") else last_but_one()
    yield migrate(name), migrate_to_newest
    migrate_to_newest()


def last_but_one():
    graph = MigrationExecutor(connection).loader.graph
    [newest] = graph.leaf_nodes(APP)
    [previous] = [name for app, name in graph.node_map[newest].parents if app == APP]
    return previous


STATES = {"update": "O", "swag": "S", "test": "O"}
ASKED = {"update": "UPDATE_ROUND_START", "swag": "SWAG_ROUND_START", "test": "MODEL_TEST_ROUND"}


def fill(apps, phase="update"):
    """Store a training of two participants, of whom the first has answered in this phase."""
    names = ("User", "Model", "Training", "Notification", "Moments", "Metric")
    row = {name: apps.get_model(APP, name).objects for name in names}
    actor, first, second = (row["User"].create(username=n) for n in ("a", "b", "c"))
    model = row["Model"].create(owner=actor, kind="GLOBAL", name="m", file="m", round=1)
    training = row["Training"].create(
        model=model,
        actor=actor,
        state=STATES[phase],
        phase=phase,
        target_num_updates=2,
        aggregation_method="FedAvg",
        uncertainty_method="SWAG" if phase == "swag" else "NONE",
    )
    training.participants.set([first, second])
    body = {"round": 1, "global_model_uuid": str(model.pk)}
    for user in (first, second):
        row["Notification"].create(
            training=training,
            receiver=user,
            type=ASKED[phase],
            round=1,
            attempt=0,
            sequence=1,
            body=body,
            delivered_at=timezone.now(),
        )
    answers = {
        "update": ("Model", {"kind": "LOCAL", "base_model": model, "file": "u"}),
        "swag": ("Moments", {"model": model, "first": "1", "second": "2"}),
        "test": ("Metric", {"model": model, "key": "loss", "value_float": 1.0}),
    }
    kind, fields = answers[phase]
    if phase == "test":
        fields |= {"reporter": first, "step": 1}
    else:
        fields |= {"owner": first, "round": 1, "sample_size": 1}
    row[kind].create(**fields)
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


def secret_column():
    with connection.cursor() as cursor:
        cursor.execute("SELECT notification_secret FROM fl_server_core_user ORDER BY username")
        return [secret for (secret,) in cursor.fetchall()]


def test_readable_secrets_are_encrypted_and_taken_back(transactional_db):
    before = migrate("0017_phase_names")
    try:
        for name, secret in (("ann", "c2VjcmV0" * 5), ("bob", "")):
            before.get_model(APP, "User").objects.create(username=name, notification_secret=secret)
        migrate("0019_seal_secrets")
        closed, none = secret_column()
        assert "c2VjcmV0" not in closed
        assert none == ""
        assert User.objects.get(username="ann").notification_secret == "c2VjcmV0" * 5
        migrate("0017_phase_names")
        assert secret_column() == ["c2VjcmV0" * 5, ""]
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


def test_the_time_of_the_next_check_is_kept(transactional_db):
    before = migrate("0019_seal_secrets")
    try:
        training_id = fill(before)
        before.get_model(APP, "Training").objects.update(judge_at=NOW)
        migrate("0020_check_at")
        assert Training.objects.get(pk=training_id).check_at == NOW
        back = migrate("0019_seal_secrets").get_model(APP, "Training").objects
        assert back.get(pk=training_id).judge_at == NOW
    finally:
        migrate_to_newest()


REPORTED = {  # in which round, under which attempt, who what; b and c were asked
    (1, 0): [("a", "loss", 100.0), ("c", "loss", 2.0), ("b", "huge", 1e200), ("c", "huge", 0.0)],
    (2, 0): [("b", "loss", 100.0)],
    (2, 1): [("c", "loss", 3.0), ("b", "text", None)],
    (3, 1): [("b", "loss", 4.0)],
    (3, 2): [("b", "loss", 5.0), ("c", "loss", 6.0)],
    (4, 2): [("b", "loss", 7.0)],
    (4, 3): [("b", "text", None)],
}
MEANS = [
    ((0, 0), None),
    ((1, 0), {"loss": 1.5}),
    ((2, 0), {"loss": 3.0}),
    ((3, 1), {"loss": 4.0}),
    ((3, 2), {"loss": 5.5}),
    ((4, 2), {}),
]


def test_versions_get_the_means_of_their_last_tests(transactional_db):
    before = migrate("0021_indexes")
    try:
        fill(before, "test")
        names = ("Checkpoint", "Metric", "Model", "Notification", "User")
        row = {name: before.get_model(APP, name).objects for name in names}
        model, users = row["Model"].get(), {user.username: user for user in row["User"].all()}
        call = row["Notification"].values("training_id", "type", "sequence", "body")[0]
        for (number, attempt), _ in MEANS:
            row["Checkpoint"].create(model=model, round=number, attempt=attempt, size=1)
        for (step, attempt), reported in REPORTED.items():
            for name in "bc" if step > 1 else "":  # in round 1 they are asked as it is
                given = {"round": step, "attempt": attempt, "receiver": users[name]}
                row["Notification"].create(**call, **given)
            for name, key, value in reported:
                given = {"step": step, "attempt": attempt, "reporter": users[name], "key": key}
                stored = {"value_binary": b"good"} if value is None else {"value_float": value}
                row["Metric"].create(model=model, **given, **stored)
        migrate("0022_metric_means")
        kept = Checkpoint.objects.order_by("round", "attempt")
        kept = kept.only("round", "attempt", "metric_means")  # others have columns to come
        assert [((row.round, row.attempt), row.metric_means) for row in kept] == MEANS
    finally:
        migrate_to_newest()


def any_file():
    return StoredFile(name=str(uuid.uuid4()), sha256="0" * 64, size=1)


def finish_phase(trainer, user):
    """Let a user give what the present phase asks for."""
    model, given = trainer.training.model, {"owner": user, "sample_size": 1}
    match trainer.training.phase:
        case "update":
            trainer.receive_update(**given, round=model.round, file=any_file())
        case "swag":
            trainer.receive_moments(**given, round=model.round, first=any_file(), second=any_file())
        case "test":
            trainer.receive_metrics(model=model, reporter=user, metrics=[("loss", 1.0)])


def merge(training_id, phase):
    with ModelTrainer.locked(training_id) as trainer:
        claim = trainer.claim_merge(trainer.training.round, 0)
    with ModelTrainer.locked(training_id) as trainer:
        if phase == "swag":
            assert len(claim.merge.moments) == 2
            trainer.complete_swag(claim, any_file(), any_file())
        else:
            assert len(claim.merge.updates) == 2
            trainer.complete_merge(claim, any_file())


@pytest.mark.parametrize("phase", ["update", "swag", "test"])
def test_a_running_training_goes_on_after_an_upgrade(earlier, phase):
    old, upgrade = earlier
    training_id = fill(old, phase)
    upgrade()
    users = {user.username: user for user in User.objects.all()}
    waiting = ["c"]  # the other one's answer is there
    while (training := Training.objects.get(pk=training_id)).state != "C":
        phase = training.phase
        for name in waiting:
            with ModelTrainer.locked(training_id) as trainer:
                finish_phase(trainer, users[name])
        if phase != "test":
            merge(training_id, phase)
        after = Training.objects.get(pk=training_id)
        assert (after.phase, after.round) != (phase, training.round)
        waiting = ["b", "c"]
    assert (training.state, training.model.round) == ("C", 2)
