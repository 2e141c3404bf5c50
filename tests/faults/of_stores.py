"""PostgreSQL, Redis and the disk: gone, emptied, full."""

import requests

from tests.faults.backstage import Backstage
from tests.faults.registry import fault
from tests.faults.training import MIDDLE, Running
from tests.waiting import PATIENCE, wait_until


@fault()
def redis_flushed_with_a_task_queued(server: Backstage, training: Running) -> None:
    """Redis loses all that it holds, the order to merge among it."""
    server.production.kill("rounds", "rounds-2")
    training.answer()
    assert server.queued("rounds") > 0
    server.flush_broker()


@fault()
def redis_flushed_under_living_workers(server: Backstage, training: Running) -> None:
    """Redis loses all that it holds, its queues' names among it, and no worker starts anew."""
    server.flush_broker()
    training.answer()


@fault()
def redis_away_during_the_last_upload(server: Backstage, training: Running) -> None:
    """Redis is killed, the update counts all the same; Redis comes back."""
    server.production.redis.kill()
    try:
        training.answer()
    finally:
        server.production.redis.start()


@fault()
def postgres_restarted_in_mid_round(server: Backstage, training: Running) -> None:
    """PostgreSQL is killed; clients are answered 503 and repeat until it is back."""
    server.production.postgres.kill()
    try:
        training.let_go()
        url = f"{training.actor.url}/api/trainings/{training.id}/"
        header = {"Authorization": training.actor.session.headers["Authorization"]}
        answer = requests.get(url, headers=header, timeout=PATIENCE)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
    finally:
        server.production.postgres.start()
    training.answer()


@fault()
def disk_full_at_an_upload(server: Backstage, training: Running) -> None:
    """An update finds no room: 507, and nothing of it is left; repeated later it counts."""
    before = server.scratch
    with server.full_disk("web"):
        status, text, _ = training.last.update(MIDDLE)
    assert (status, "disk is full" in text) == (507, True)
    wait_until(lambda: server.scratch <= before)  # a request cleans up after its answer
    assert training.state()["local_models_arrived"] == len(training.participants) - 1
    training.answer()


@fault()
def disk_full_at_a_merge(server: Backstage, training: Running) -> None:
    """A merge finds no room and is tried again; at last the training ends with that reason.

    Nothing half-written is left. Resumed once there is room, it goes on.
    """
    before = server.scratch
    with server.full_disk("rounds"):
        training.answer()
        training.wait(lambda: server.expire_lease(training) or training.has_failed)
    assert "No space left on device" in training.state()["state_reason"]
    assert len(training.checkpoints()) == MIDDLE + 1
    wait_until(lambda: server.scratch <= before)  # a request cleans up after its answer
    training.resume()
