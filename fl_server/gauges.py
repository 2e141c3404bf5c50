"""What the database, the broker and the disk know of a server, asked when somebody wants to know.

It is the same whichever process answers. Few queries, and none reads a table of records as a whole
where an index says as much: there may be many updates, versions and notifications.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.db.models import Count, F, Min, Q, Sum
from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fl_server.celery import app
from fl_server.processes import QUEUES
from fl_server_ai.trainer.phases import PHASES
from fl_server_core.models import Checkpoint, Model, Moments, Notification, Training, Upload, User
from fl_server_core.models.notification import NotificationState
from fl_server_core.models.training import TrainingState

log = logging.getLogger(__name__)

KEPT_FOR = 5.0

CALLS = {
    NotificationState.PENDING: "pending",
    NotificationState.DELIVERED: "delivered",
    NotificationState.FAILED: "lost",
}
"""What can become of a call in a round that is under way."""

Known = Iterable[Metric]


def of_trainings() -> Known:
    """Ask for the trainings, and for how far the running ones are."""
    by_state = Training.objects.order_by().values_list("state").annotate(Count("pk"))
    found = dict(by_state)
    states = {state.name.lower(): found.get(state, 0) for state in TrainingState}
    yield _gauges("fl_trainings", "Trainings.", "state", states)
    running = Training.objects.running().aggregate(
        to_go=Sum(F("target_num_updates") - F("model__round")),
        merging=Count("pk", filter=Q(claimed_until__gt=Now())),
    )
    yield _gauge(
        "fl_rounds_to_go", "Rounds that running trainings have before them.", running["to_go"]
    )
    yield _gauge("fl_merges", "Merges under way.", running["merging"])
    rounds = Checkpoint.objects.filter(round__gt=0).count()
    yield _gauge("fl_rounds_merged", "Versions of models that merges have made.", rounds)


def of_participants() -> Known:
    """Ask for the users, for whom running trainings have asked, and for what came."""
    yield _gauge("fl_users", "Users.", User.objects.count())
    present = {"round": F("training__model__round"), "attempt": F("training__attempt")}
    calls = Notification.objects.filter(training__in=Training.objects.running(), **present)
    counted = calls.order_by().values_list("training__phase", "type", "state").annotate(Count("pk"))
    states = dict.fromkeys(CALLS.values(), 0)
    for phase, asked, state, count in counted:
        if state in CALLS and phase in PHASES and asked == PHASES[phase].request:
            states[CALLS[state]] += count
    says = "Participants that running trainings ask for something now: not told yet, told, or lost."
    yield _gauges("fl_participants", says, "call", states)
    updates = Model.objects.filter(base_model__isnull=False)
    yield _gauge("fl_updates", "Updates taken.", updates.count())
    waiting = updates.filter(closed_at=None).count()
    yield _gauge("fl_updates_waiting", "Updates that aren't merged yet.", waiting)


def of_notifications() -> Known:
    """Ask for what isn't delivered, and whether somebody sees to what is due."""
    pending = Notification.objects.pending()
    fetched = Count("pk", filter=Q(next_attempt_at=None))
    found: dict[str, Any] = pending.aggregate(
        post=Count("next_attempt_at"), fetch=fetched, due=Min("next_attempt_at")
    )
    ways = {"post": found["post"], "fetch": found["fetch"]}
    says = "Notifications that wait to be posted or fetched."
    yield _gauges("fl_notifications_pending", says, "by", ways)
    due = Training.objects.due().aggregate(check=Min("check_at"))
    overdue = {
        "training": _seconds_since(due["check"]),
        "notification": _seconds_since(found["due"]),
    }
    says = "Seconds that the oldest training to check, and notification to post, have been due."
    yield _gauges("fl_overdue_seconds", says, "what", overdue)


def of_files() -> Known:
    """Ask for what is stored; a model's newest version counts once."""
    whole = Model.objects.filter(base_model=None).aggregate(
        size=Sum(F("size") + F("preprocessing_size") + F("serving_size"))
    )
    versions: dict[str, Any] = Checkpoint.objects.stored().aggregate(
        size=Sum("size", filter=~Q(file=F("model__file"))), state=Sum("server_state_size")
    )
    updates = Model.objects.filter(base_model__isnull=False)
    kept = updates.exclude(file="").aggregate(size=Sum("size"))
    moments = Moments.objects.exclude(first="").aggregate(size=Sum("size"))
    uploads: dict[str, Any] = Upload.objects.aggregate(size=Sum("offset"), count=Count("pk"))
    stored = {
        "models": whole["size"],
        "updates": kept["size"],
        "versions": (versions["size"] or 0) + (versions["state"] or 0),
        "moments": moments["size"],
        "uploads": uploads["size"],
    }
    yield _gauges("fl_stored_bytes", "Bytes of the files that are kept.", "kind", stored)
    yield _gauge("fl_uploads", "Uploads in parts that nothing has used yet.", uploads["count"])


def of_broker() -> Known:
    """Ask for the lengths of the queues."""
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=1)
        channel, queues = broker.default_channel, cast(dict[str, Any], app.amqp.queues)
        lengths = {name: queues[name](channel).queue_declare().message_count for name in QUEUES}
    yield _gauges("fl_queue_messages", "Tasks that wait for a worker.", "queue", lengths)


def of_disk() -> Known:
    """Ask for the room where models are kept, or worked on."""
    usage = shutil.disk_usage(settings.MODEL_DIR)
    yield _gauge("fl_disk_bytes", "Size of the disk with the folder of models.", usage.total)
    yield _gauge("fl_disk_free_bytes", "Bytes that are free on that disk.", usage.free)


SOURCES: dict[str, tuple[Callable[[], Known], ...]] = {
    "database": (of_trainings, of_participants, of_notifications, of_files),
    "broker": (of_broker,),
    "disk": (of_disk,),
}


class Gauges(Collector):
    """What the sources know, not older than `KEPT_FOR`; of many who ask one asks them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: list[Metric] = []
        self._good_until = 0.0

    def collect(self) -> list[Metric]:
        """Return what is known; `fl_source_up` tells which sources have answered."""
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._known = self._ask()
                self._good_until = time.monotonic() + KEPT_FOR
            return self._known

    def _ask(self) -> list[Metric]:
        known: list[Metric] = []
        up = dict.fromkeys(SOURCES, 0)
        for name, questions in SOURCES.items():
            try:
                known += [metric for ask in questions for metric in ask()]
                up[name] = 1
            except Exception:  # the others still have something to tell
                log.exception("the %s doesn't tell", name)
        return [*known, _gauges("fl_source_up", "Whether it has told what it knows.", "source", up)]


GAUGES = Gauges()
"""All who ask in this process share what is known."""


def told() -> dict[str, dict[str, float]]:
    """Return what is known: by metric, and in it by the value of its label, "" without one."""
    return {
        metric.name: {next(iter(of.labels.values()), ""): of.value for of in metric.samples}
        for metric in GAUGES.collect()
    }


def _gauge(name: str, says: str, value: float | None) -> Metric:
    return GaugeMetricFamily(name, says, value=value or 0)


def _gauges(name: str, says: str, label: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=[label])
    for of, value in values.items():
        family.add_metric([of], value or 0)
    return family


def _seconds_since(moment: datetime | None) -> float:
    return max((timezone.now() - moment).total_seconds(), 0) if moment else 0
