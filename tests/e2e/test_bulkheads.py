"""Those who hang, and those who wait, hold up nobody else."""

import socket
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import pytest

from fl_server_ai.notification.bulkheads import EACH_SLOW
from tests.e2e.conftest import running_server
from tests.e2e.crowd import at_once, hanging, listening
from tests.e2e.people import Person
from tests.e2e.tiny import endless, scripted
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("bulkheads")]

THREADS = 8
SILENT = 32


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One with few threads for requests, that waits for receivers longer than any test lasts."""
    settings = {
        "FL_WEB_WORKERS": "1",
        "FL_WEB_THREADS": str(THREADS),
        "FL_NOTIFY_TIMEOUT_SECONDS": "3600",
        "FL_RUNNER_SECONDS": "8",
        "FL_STATS_WAIT_SECONDS": "1",
    }
    with running_server(tmp_path_factory.mktemp("bulkheads"), **settings) as url:
        yield url


def test_a_training_is_told_while_all_receivers_of_another_one_hang(server):
    actor = Person(server)
    model = actor.upload_model(scripted(0.0))
    with ExitStack() as stack:
        silent = [stack.enter_context(hanging()) for _ in range(SILENT)]
        url, mailboxes = stack.enter_context(listening())
        people = [Person(server, endpoint=receiver.url) for receiver in silent]
        actor.start(actor.open_training(model, people, 1))
        held = partial(count_held, silent)
        wait_until(lambda: held() == EACH_SLOW)
        healthy = [Person(server, endpoint=f"{url}/{number}") for number in range(4)]
        training = actor.open_training(model, healthy, 1)
        actor.start(training)
        mailboxes.await_all(healthy, training, ("UPDATE_ROUND_START", 0))
        assert held() == EACH_SLOW  # none of them had to be given up
        assert sum(len(receiver.connections) for receiver in silent) == EACH_SLOW
        for receiver in silent:  # the connections of those that are told next fail at once
            receiver.end()


def count_held(receivers):
    return sum(receiver.held() for receiver in receivers)


def test_polls_that_wait_leave_threads_to_others_and_too_many_are_answered_at_once(server):
    people = [Person(server) for _ in range(THREADS)]
    model = people[0].upload_model(scripted(0.0))
    question = {"model_id": model, "model_input": [[1.0, 1.0]]}
    with ExitStack() as stack:
        polls = [stack.enter_context(polling(person)) for person in people for _ in range(3)]
        turned_away = len(polls) - THREADS // 4
        wait_until(lambda: len(told_to_come_back(polls)) == turned_away)
        others = [partial(person.ask, "GET", "/users/myself/") for person in people]
        assert len(at_once(*others)) == THREADS
        people[0].ask("POST", "/inference/", json=question, expect=200)
        assert len(told_to_come_back(polls)) == turned_away  # those that wait do so, or did


def test_summaries_of_endless_models_hold_up_no_prediction(server):
    nasty, honest = Person(server), Person(server)
    model = honest.upload_model(scripted(0.0), input_shape=["None", "2"])
    files = [endless(weight) for weight in range(4)]
    models = [nasty.upload_model(file, input_shape=["None", "2"]) for file in files]
    looks = [partial(nasty.ask, "GET", f"/models/{one}/metadata/", expect=200) for one in models]
    assert [told["stats"] for told in at_once(*looks)] == 4 * [None]
    question = {"model_id": model, "model_input": [[1.0, 1.0]]}
    honest.ask("POST", "/inference/", json=question, expect=200)
    path = f"/models/{model}/metadata/"
    wait_until(lambda: honest.ask("GET", path)["stats"])


@contextmanager
def polling(person):
    """Yield the connection of a request that may wait."""
    address = urlsplit(person.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        head = f"GET /api/notifications/?wait=30 HTTP/1.1\r\nHost: {address.netloc}\r\n"
        token = person.session.headers["Authorization"]
        connection.sendall(f"{head}Authorization: {token}\r\n\r\n".encode())
        connection.setblocking(False)
        yield connection


def told_to_come_back(connections):
    """Return the answers that came at once: those to whom there was no place to wait."""
    found = []
    for connection in connections:
        with suppress(BlockingIOError):
            found.append(connection.recv(65536, socket.MSG_PEEK))
    return [answer for answer in found if b"Retry-After: 1\r\n" in answer]
