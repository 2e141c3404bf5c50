import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from fl_server_ai.notification import posting
from fl_server_ai.notification.bulkheads import (
    EACH,
    EACH_HOST,
    EACH_HOST_SLOW,
    EACH_SLOW,
    SLOW,
    THREADS,
    Bulkheads,
    Delivery,
)
from tests.e2e.crowd import hanging
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def bulkheads():
    return Bulkheads()


def deliveries(number, *, training=None, address=None, prompt=False):
    """Deliveries of one training, or of one each; at one address, or at one each."""
    return [
        Delivery(
            training or uuid.uuid4(),
            uuid.uuid4(),
            address or f"host-{uuid.uuid4()}:80",
            prompt,
        )
        for _ in range(number)
    ]


def join(bulkheads, waiting):
    for delivery in waiting:
        bulkheads.join(delivery)


def take_all(bulkheads):
    return list(iter(bulkheads.take, None))


def test_one_training_has_so_many_under_way_and_the_rest_waits(bulkheads):
    waiting = deliveries(3 * EACH, training=uuid.uuid4(), prompt=True)
    join(bulkheads, waiting)
    assert take_all(bulkheads) == waiting[:EACH]
    bulkheads.leave(waiting[0])
    assert take_all(bulkheads) == [waiting[EACH]]


def test_one_address_has_so_many_under_way_whichever_trainings_they_are_of(bulkheads):
    join(bulkheads, deliveries(3 * EACH, address="host:80", prompt=True))
    assert len(take_all(bulkheads)) == EACH
    join(bulkheads, deliveries(1, prompt=True))
    assert len(take_all(bulkheads)) == 1


def test_one_host_has_so_many_under_way_whichever_its_ports_are(bulkheads):
    for port in range(2 * EACH_HOST):
        join(bulkheads, deliveries(1, address=f"host:{port}", prompt=True))
    assert len(take_all(bulkheads)) == EACH_HOST
    join(bulkheads, deliveries(1, address="host-2:80", prompt=True))
    assert len(take_all(bulkheads)) == 1


def test_the_slow_leave_places_of_their_host_to_the_prompt(bulkheads):
    for port in range(2 * EACH_HOST):
        join(bulkheads, deliveries(1, address=f"host:{port}"))
    assert len(take_all(bulkheads)) == EACH_HOST_SLOW
    join(bulkheads, deliveries(1, address="host:80", prompt=True))
    assert len(take_all(bulkheads)) == 1


@pytest.mark.parametrize("same", [{"training": uuid.uuid4()}, {"address": "host:80"}])
def test_the_slow_leave_places_of_their_training_and_address_to_the_prompt(bulkheads, same):
    join(bulkheads, deliveries(3 * EACH, **same))
    assert len(take_all(bulkheads)) == EACH_SLOW
    join(bulkheads, deliveries(3 * EACH, **same, prompt=True))
    assert len(take_all(bulkheads)) == EACH - EACH_SLOW


def test_however_many_are_slow_the_prompt_start_at_once(bulkheads):
    join(bulkheads, deliveries(10 * SLOW))
    assert len(take_all(bulkheads)) == SLOW
    prompt = deliveries(THREADS - SLOW, prompt=True)
    join(bulkheads, prompt)
    assert take_all(bulkheads) == prompt


def test_trainings_take_turns(bulkheads):
    first, second = (deliveries(20, training=uuid.uuid4()) for _ in range(2))
    filling = deliveries(SLOW)
    join(bulkheads, filling)
    assert len(take_all(bulkheads)) == SLOW
    join(bulkheads, first)
    join(bulkheads, second)
    turns = []
    for delivery in filling[:4]:
        bulkheads.leave(delivery)
        turns += take_all(bulkheads)
    assert turns == [first[0], second[0], first[1], second[1]]


def test_who_is_in_line_keeps_the_place(bulkheads):
    (first, second) = waiting = deliveries(2, training=uuid.uuid4())
    join(bulkheads, [*waiting, first])
    assert take_all(bulkheads) == [first, second]


def test_places_are_forgotten_with_those_who_had_them(bulkheads):
    join(bulkheads, deliveries(SLOW))
    for delivery in take_all(bulkheads):
        bulkheads.leave(delivery)
    assert not bulkheads._taken
    assert not bulkheads._lines


def test_a_process_that_ends_starts_nothing(bulkheads):
    join(bulkheads, deliveries(1))
    bulkheads.close()
    assert bulkheads.take() is None


def test_there_are_threads_left_beside_slow_receivers():
    assert SLOW + 4 * EACH < THREADS


def test_no_place_is_given_twice_however_many_ask(bulkheads):
    """As many threads as a worker has; each takes and leaves, and counts with whom it is."""
    lock, under_way, most = threading.Lock(), [0], [0]

    def work(delivery):
        bulkheads.join(delivery)
        while taken := bulkheads.take():
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            with lock:
                under_way[0] -= 1
            bulkheads.leave(taken)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, deliveries(2000, training=uuid.uuid4())))
    assert 1 <= most[0] <= EACH_SLOW
    assert not bulkheads._lines


def test_others_are_posted_to_while_all_places_of_the_slow_hang(bulkheads):
    """Real connections: nothing is told of seconds, only that those that hang still do."""
    healthy = deliveries(4, prompt=True)
    posted = []

    def run(url, delivery):
        bulkheads.join(delivery)
        while taken := bulkheads.take():
            if taken in healthy:
                posted.append(taken)
            else:
                with pytest.raises(posting.Unreachable):
                    posting.post(url, b"{}", seconds=PATIENCE)
            bulkheads.leave(taken)

    with ExitStack() as stack:
        receiver = stack.enter_context(hanging())
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        stack.callback(bulkheads.close)
        stack.callback(receiver.end)
        for delivery in deliveries(2 * SLOW):
            pool.submit(run, receiver.url, delivery)
        wait_until(lambda: receiver.held() == SLOW)
        for delivery in healthy:
            pool.submit(run, receiver.url, delivery)
        wait_until(lambda: len(posted) == len(healthy))
        assert receiver.held() == SLOW
