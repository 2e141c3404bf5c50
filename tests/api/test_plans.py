"""Among many rows PostgreSQL finds by an index what requests and workers look for."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fl_server_ai import sweeper
from fl_server_ai.notification import delivery, outbox
from fl_server_ai.trainer import ModelTrainer
from fl_server_core import files, quotas
from fl_server_core.models import Checkpoint, Metric, Moments, Training, User
from fl_server_core.models.token import issue_token
from tests.api.conftest import as_user
from tests.factories import (
    LocalModelFactory,
    ModelFactory,
    NotificationFactory,
    TrainingFactory,
    UserFactory,
)

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

ROUND = 1000
FEW = 2500
"""Rows and entries of indexes that a statement may read: a few hundred, and where PostgreSQL finds
it cheaper to put two indexes together, the thousand models in use twice."""

BIG = {
    f"fl_server_core_{name}"
    for name in ("checkpoint", "metric", "model", "moments", "notification")
}
PARTICIPANTS = "(SELECT id AS user_id FROM fl_server_core_user WHERE username ~ '^p.*0$') p"


def copy(row, series, **columns):
    """Insert copies of a row, one for each of the series, with what SQL gives for some columns."""
    table, key = row._meta.db_table, row._meta.pk
    values = {field.column: f"old.{field.column}" for field in row._meta.concrete_fields}
    values |= {"id": "gen_random_uuid()"} | columns
    if key.get_internal_type() != "UUIDField":
        del values["id"]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
            f"FROM (SELECT * FROM {table} WHERE id = %s) old, {series}",
            [row.pk],
        )


def rounds(count):
    """Return a series: the training's participants, in each of its last rounds."""
    return f"{PARTICIPANTS}, generate_series({ROUND - count + 1}, {ROUND}) n"


@pytest.fixture
def training():
    """One of ten of a hundred participants each, in round 1000; nobody has answered in it."""
    user, model = UserFactory(), ModelFactory(file="a file")
    copy(user, "generate_series(1, 1000) n", username="'p' || n")
    for number in range(10):
        trained = {"model": ModelFactory(round=ROUND, file=f"file {number}")}
        mine = User.objects.filter(username__regex=f"^p.*{number}$")
        TrainingFactory(state="O", phase="update", participants=mine, **trained)
    training = Training.objects.all()[0]
    copy(model, "generate_series(1, 1000) n", file="'other ' || n")

    message = NotificationFactory(
        type="UPDATE_ROUND_START", state="delivered", training=training, receiver=user
    )
    state = f"CASE n WHEN {ROUND} THEN 'pending' ELSE 'delivered' END"
    sent = {"receiver_id": "user_id", "round": "n", "sequence": "n", "state": state}
    copy(message, rounds(300), **sent)
    of = {"model": training.model, "round": 0, "size": 1}
    update = LocalModelFactory(base_model=training.model, closed_at=timezone.now(), round=0)
    copy(update, rounds(90), owner_id="user_id", round="n - 1")
    copy(
        Moments.objects.create(owner=user, sample_size=1, **of),
        rounds(90),
        owner_id="user_id",
        round="n",
    )
    version = Checkpoint.objects.create(attempt=0, metric_means={"loss": 2.0}, **of)
    copy(version, f"generate_series(1, {ROUND}) n", round="n")
    value = {"reporter": user, "step": 0, "key": "loss", "value_float": 1}
    copy(
        Metric.objects.create(model=training.model, **value),
        rounds(ROUND),
        reporter_id="user_id",
        step="n",
    )
    copy(Metric.objects.create(model=model, **value), rounds(5), reporter_id="user_id", step="n")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SET LOCAL random_page_cost = 1.1")  # the tables are in memory
    return training


def plans(action):
    """Yield what an action asks for, and how PostgreSQL finds that."""
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            action()
        asked = [query["sql"] for query in queries]
        for sql in asked:
            if sql.startswith(("SELECT", "UPDATE", "DELETE", "(SELECT")):
                yield sql, plan_of(sql)
        transaction.set_rollback(True)


def plan_of(sql):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql.replace('%', '%%')}", [])
        [[[answer]]] = cursor.fetchall()
    return answer["Plan"]


def nodes(plan):
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def rows_read(plan):
    """Return how many rows are read from tables and indexes, also if nothing comes of them."""
    return sum(
        node["Actual Loops"] * rows
        for node in nodes(plan)
        for name, rows in node.items()
        if name.startswith("Rows Removed") or (name == "Actual Rows" and "Plans" not in node)
    )


def is_whole(node):
    return node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG


def test_no_more_is_read_than_needed(training, monkeypatch):
    monkeypatch.setattr(delivery.threads, "submit", lambda *_: None)
    anna = training.participants.all()[0]
    issue_token(anna)
    client, actor = as_user(anna), as_user(training.actor)
    model, url = f"/api/models/{training.model_id}/", f"/api/trainings/{training.pk}/"
    message = anna.notifications.pending().get()
    report = {"metric_names": ["loss"], "metric_values": [1]}
    update = {"owner": anna, "round": ROUND, "sample_size": 1}
    reported = Metric.objects.exclude(model=training.model_id)[0]
    owner = as_user(reported.model.owner)

    def hand_in():
        quotas.stored_bytes(anna)
        with ModelTrainer.locked(training.pk) as trainer:
            trainer.receive_update(file=files.StoredFile("new", "a" * 64, 1), **update)
        files._delete_unnamed({"new"})

    def merge():
        first = LocalModelFactory(base_model=training.model, owner=anna, round=ROUND, file="own")
        others = f"{PARTICIPANTS} WHERE user_id <> '{anna.pk}'"
        copy(first, others, owner_id="user_id", file="user_id::text")
        with ModelTrainer.locked(training.pk) as trainer:
            claim = trainer.claim_merge(ROUND, 0)
        with ModelTrainer.locked(training.pk) as trainer:
            trainer.complete_merge(claim, files.StoredFile("merged", "b" * 64, 1))
            trainer.next_round()

    def end_test():
        of = {"training": training, "receiver": anna, "round": ROUND, "state": "delivered"}
        others = f"{PARTICIPANTS} WHERE user_id <> '{anna.pk}'"
        call = NotificationFactory(type="MODEL_TEST_ROUND", **of)
        copy(call, others, receiver_id="user_id")
        best = {"metric": "loss"}
        options = {
            "round": {"stop_when": {"patience": ROUND, **best}},
            "checkpoints": {"best": best},
        }
        Training.objects.filter(pk=training.pk).update(phase="test", options=options)
        with ModelTrainer.locked(training.pk) as trainer:
            trainer.advance()
        assert Checkpoint.objects.get(round=ROUND).metric_means == {"loss": 1.0}

    actions = {
        "models": lambda: client.get("/api/models/"),
        "the actor's models": lambda: actor.get("/api/models/"),
        "trainings": lambda: actor.get("/api/trainings/"),
        "a participant's": lambda: client.get("/api/users/trainings/"),
        "a training": lambda: client.get(url),
        "its models": lambda: client.get(f"{url}models/"),
        "its latest models": lambda: client.get(f"{url}models/latest/"),
        "metrics": lambda: owner.get(f"/api/models/{reported.model_id}/metrics/"),
        "notifications": lambda: client.get("/api/notifications/"),
        "acknowledging": lambda: client.post(f"/api/notifications/{message.pk}/ack/"),
        "reporting": lambda: client.post(f"{model}metrics/", report),
        "an update": hand_in,
        "a merge": merge,
        "the end of a test": end_test,
        "a sweep": sweeper.sweep,
        "dispatching": lambda: delivery.dispatch(training.pk),
        "delivering": lambda: outbox.claim_next(training.pk, anna.pk),
    }
    found = [(name, *plan) for name, action in actions.items() for plan in plans(action)]
    assert len(found) > 100
    assert [(name, sql) for name, sql, plan in found if any(map(is_whole, nodes(plan)))] == []
    many = [(name, rows_read(plan), sql) for name, sql, plan in found if rows_read(plan) > FEW]
    assert many == []
