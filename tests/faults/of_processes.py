"""Processes of ours that are killed, or stand still for too long."""

import os
import signal
import socket

from tests.faults.backstage import Backstage
from tests.faults.participants import TEST, stored_update
from tests.faults.registry import fault
from tests.faults.training import MIDDLE, Running
from tests.waiting import wait_until

ROUNDS_WORKERS = ("rounds", "rounds-2")
NOTIFY_WORKERS = ("notify", "notify-2")


@fault()
def workers_killed_before_the_merge(server: Backstage, training: Running) -> None:
    """The merging workers are killed before the round's last update comes."""
    server.production.kill(*ROUNDS_WORKERS)
    training.answer()


@fault()
def worker_killed_during_the_merge(server: Backstage, training: Running) -> None:
    """The worker that merges is killed as it writes; another takes over once its lease is out."""
    server.hold_next_write("rounds")
    training.answer()
    pid = server.held()
    assert server.is_claimed(training)
    server.production.kill(server.name_of(pid))
    server.release(pid)
    assert len(training.checkpoints()) == MIDDLE + 1
    server.expire_lease(training)


@fault()
def pool_process_killed_during_the_merge(server: Backstage, training: Running) -> None:
    """The same for the process of the worker's pool alone, as the out-of-memory killer does."""
    server.hold_next_write("rounds")
    training.answer()
    pid = server.held()
    os.kill(pid, signal.SIGKILL)
    server.release(pid)
    server.expire_lease(training)


@fault()
def workers_killed_after_the_merge(server: Backstage, training: Running) -> None:
    """The merging workers are killed as soon as the round has advanced."""
    training.answer()
    training.await_round(MIDDLE + 1)
    server.production.kill(*ROUNDS_WORKERS)


@fault()
def merge_outlives_its_lease(server: Backstage, training: Running) -> None:
    """A merging worker is stopped, another finishes; what the first brings later is dropped."""
    server.hold_next_write("rounds")
    training.answer()
    pid = server.held()
    os.kill(pid, signal.SIGSTOP)
    try:
        server.expire_lease(training)
        training.await_round(MIDDLE + 1)
    finally:
        server.release(pid)
        os.kill(pid, signal.SIGCONT)
    log = server.production.folder / f"{server.name_of(pid)}.log"
    dropped = f"training {training.id} round {MIDDLE}: the merge is no longer due"
    wait_until(lambda: dropped in log.read_text())


@fault()
def web_killed_during_an_upload(server: Backstage, training: Running) -> None:
    """The web processes are killed with half of an update's body sent; the client repeats it."""
    before = server.scratch
    with socket.create_connection(("127.0.0.1", server.production.nginx.port)) as connection:
        connection.sendall(_half_of_an_upload(training))
        wait_until(lambda: server.scratch - before)
        server.production.kill("web")
    server.production.revive()
    training.answer()


def _half_of_an_upload(training: Running) -> bytes:
    token = training.last.person.session.headers["Authorization"]
    part = 'Content-Disposition: form-data; name="model_file"; filename="update"'
    body = f"--end\r\n{part}\r\n\r\n".encode() + stored_update(MIDDLE, training.last.number)
    body += bytes(1 << 20)  # less would still be in memory
    head = (
        f"POST /api/models/{training.model}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: {token}\r\nContent-Type: multipart/form-data; boundary=end\r\n"
        f"Content-Length: {2 * len(body)}\r\n\r\n"
    )
    return head.encode() + body


@fault()
def beat_killed_with_a_message_to_repeat(server: Backstage, training: Running) -> None:
    """Beat is killed while a client can't be reached: its next sweep finds what is due."""
    training.last_answers(lambda step: None)
    training.answer()
    wait_until(lambda: server.has_failed_to_deliver(training))
    server.production.kill("beat")
    training.last_answers(None)


@fault(moment=(TEST, MIDDLE))
def notifiers_killed_while_they_post(server: Backstage, training: Running) -> None:
    """The notifying workers are killed while a client hasn't answered: it is told again."""
    with training.last_hangs() as asked:
        training.answer()
        training.wait(asked.is_set)
        server.production.kill(*NOTIFY_WORKERS)
    server.hasten(training)


@fault(moment=(TEST, MIDDLE))
def delivery_outlives_its_lease(server: Backstage, training: Running) -> None:
    """A notifying worker is stopped as it posts, another posts; the first changes nothing."""
    server.production.kill("notify-2")
    with training.last_hangs() as asked:
        training.let_go()
        wait_until(asked.is_set)
        stopped = server.production.processes["notify"]
        stopped.send_signal(signal.SIGSTOP)
    try:
        server.hasten(training)
        training.await_round(MIDDLE + 1)
    finally:
        stopped.send_signal(signal.SIGCONT)
