"""The broker made of files, asked by kombu as Celery does."""

import errno
import json
import os
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty
from subprocess import Popen
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.simple import SimpleQueue

from fl_server.transport import Transport
from tests.waiting import PATIENCE

PRODUCERS, MESSAGES, CONSUMERS = 3, 3000, 2

CLIENT = """
import sys
from kombu import Connection
from fl_server.transport import Transport

role, folder, number, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
options = {"folder": folder, "polling_interval": 0.02}
queue = Connection("filesystem://", transport=Transport, transport_options=options).SimpleQueue("q")
if role == "produce":
    for index in range(count):
        queue.put([number, index])
    sys.exit()
while (payload := (message := queue.get()).payload) != "stop":
    message.ack()
    print(*payload)
message.ack()
"""


@pytest.fixture
def connect():
    """Return who connects to a folder until the test is over.

    Left open a connection would return what it hasn't acknowledged when the process ends, and log
    that to a terminal which pytest has closed.
    """
    with ExitStack() as opened:

        def call(folder: Path) -> Connection:
            options = {"folder": str(folder), "polling_interval": 0.02}
            made = Connection("filesystem://", transport=Transport, transport_options=options)
            return opened.enter_context(made)

        yield call


def take(queue: Queue | SimpleQueue) -> Any:
    """Receive what is there, acknowledge it and return its payload; raise Empty without one."""
    message = queue.get_nowait() if isinstance(queue, SimpleQueue) else queue.get()
    message.ack()
    return message.payload


@contextmanager
def client(role: str, folder: Path, number: int, count: int = 0) -> Iterator[Popen[bytes]]:
    command = [sys.executable, "-c", CLIENT, role, str(folder / "broker"), str(number), str(count)]
    with (
        (folder / f"{role}-{number}").open("wb") as output,
        Popen(command, stdout=output) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_each_message_of_a_burst_is_received_once(tmp_path, connect):
    with ExitStack() as stack:
        start = stack.enter_context
        consumers = [start(client("consume", tmp_path, number)) for number in range(CONSUMERS)]
        producers = [
            start(client("produce", tmp_path, number, MESSAGES)) for number in range(PRODUCERS)
        ]
        assert [producer.wait(timeout=PATIENCE) for producer in producers] == [0] * PRODUCERS
        for _ in consumers:
            connect(tmp_path / "broker").SimpleQueue("q").put("stop")
        assert [consumer.wait(timeout=PATIENCE) for consumer in consumers] == [0] * CONSUMERS
    received = [
        line for path in tmp_path.glob("consume-*") for line in path.read_text().split("\n")
    ]
    wanted = [f"{number} {index}" for number in range(PRODUCERS) for index in range(MESSAGES)]
    assert Counter(filter(None, received)) == Counter(wanted)


def test_the_oldest_message_comes_first(tmp_path, connect):
    queue = connect(tmp_path).SimpleQueue("q")
    for index in range(20):
        queue.put(index)
    assert [take(queue) for _ in range(20)] == list(range(20))
    with pytest.raises(Empty):
        take(queue)


def put_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "queues" / "q.queue" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


NO_MESSAGES = {
    "empty": b"",
    "half": b'{"body": "W10',
    "no-text": b"\xff\xfe\x00",
    "no-object": b"[]",
    "no-properties": b"{}",
    "no-tag": json.dumps({"body": "", "properties": {}}).encode(),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_a_file_that_is_no_message_is_set_aside_and_the_next_one_read(tmp_path, connect, name):
    put_file(tmp_path, name="0", content=NO_MESSAGES[name])
    queue = connect(tmp_path).SimpleQueue("q")
    queue.put("good")
    assert take(queue) == "good"
    assert [path.read_bytes() for path in (tmp_path / "rejected").iterdir()] == [NO_MESSAGES[name]]


def test_a_folder_in_a_queue_is_set_aside(tmp_path, connect):
    queue = connect(tmp_path).SimpleQueue("q")
    put_file(tmp_path, "0", b"").unlink()
    (tmp_path / "queues" / "q.queue" / "0").mkdir()
    queue.put("good")
    assert take(queue) == "good"
    assert (tmp_path / "rejected" / "0").is_dir()


def test_a_message_that_vanishes_after_the_listing_is_skipped(tmp_path, connect):
    queue = connect(tmp_path).SimpleQueue("q")
    for word in ("first", "second", "third"):
        queue.put(word)
    assert take(queue) == "first"  # the others are listed by now
    min((tmp_path / "queues" / "q.queue").iterdir()).unlink()
    assert take(queue) == "third"


def test_a_sleeping_reader_is_woken(tmp_path, connect, monkeypatch):
    monkeypatch.setattr("fl_server.transport.LOOK_SECONDS", 10 * PATIENCE)
    queue, writer = connect(tmp_path).SimpleQueue("q"), connect(tmp_path).SimpleQueue("q")
    with pytest.raises(Empty):
        queue.get(timeout=0.1)  # it can hear the bell now
    with ThreadPoolExecutor() as pool:
        message = pool.submit(queue.get, timeout=2 * PATIENCE)
        writer.put("late")
        assert message.result(timeout=PATIENCE).payload == "late"
    assert [stat.filemode(p.stat().st_mode) for p in tmp_path.glob("bells/*")] == ["prw-------"]


def test_each_of_two_sleeping_readers_is_woken(tmp_path, connect, monkeypatch):
    monkeypatch.setattr("fl_server.transport.LOOK_SECONDS", 10 * PATIENCE)
    readers = [connect(tmp_path).SimpleQueue("q") for _ in range(2)]
    for reader in readers:
        with pytest.raises(Empty):
            reader.get(timeout=0.1)
    with ThreadPoolExecutor() as pool:
        messages = [pool.submit(reader.get, timeout=2 * PATIENCE) for reader in readers]
        writer = connect(tmp_path).SimpleQueue("q")
        writer.put(0)
        writer.put(1)
        assert {message.result(timeout=PATIENCE).payload for message in messages} == {0, 1}


def test_who_is_about_to_end_waits_no_longer(tmp_path, connect, monkeypatch):
    monkeypatch.setattr(Transport, "is_ending", False)
    monkeypatch.setattr("fl_server.transport.LOOK_SECONDS", 10 * PATIENCE)
    connection = connect(tmp_path)
    with Consumer(connection.channel(), [Queue("q")]), ThreadPoolExecutor() as pool:
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)  # it can hear the bell now
        drained = pool.submit(connection.drain_events, timeout=2 * PATIENCE)
        threading.Timer(0.2, Transport.end_waiting).start()
        with pytest.raises(TimeoutError):
            drained.result(timeout=PATIENCE)
        again = pool.submit(connection.drain_events, timeout=2 * PATIENCE)
        with pytest.raises(TimeoutError):
            again.result(timeout=PATIENCE)
    assert drained.done()
    assert again.done()


def test_where_no_pipe_can_be_made_the_queue_is_looked_at(tmp_path, connect, monkeypatch):
    def refuse(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "no pipes here")

    monkeypatch.setattr(os, "mkfifo", refuse)
    queue, writer = connect(tmp_path).SimpleQueue("q"), connect(tmp_path).SimpleQueue("q")
    threading.Timer(0.2, writer.put, ["late"]).start()
    assert queue.get(timeout=PATIENCE).payload == "late"


def test_who_has_all_it_may_take_need_not_wait(tmp_path, connect):
    connection = connect(tmp_path)
    for index in range(2):
        connection.SimpleQueue("q").put(index)
    with Consumer(connection.channel(), [Queue("q")], callbacks=[lambda *_: None]) as consumer:
        consumer.qos(prefetch_count=1)
        connection.drain_events(timeout=PATIENCE)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=2 * PATIENCE)
    assert time.monotonic() - begun < PATIENCE


def test_size_and_purge_count_one_queue(tmp_path, connect):
    connection = connect(tmp_path)
    queue, other = connection.SimpleQueue("q"), connection.SimpleQueue("other")
    queue.put(1)
    queue.put(2)
    other.put(3)
    assert queue.qsize() == 2
    assert queue.clear() == 2
    assert (queue.qsize(), other.qsize()) == (0, 1)


def test_a_fanout_reaches_every_bound_queue_until_it_is_deleted(tmp_path, connect):
    exchange = Exchange("news", type="fanout")
    reader, writer = connect(tmp_path), connect(tmp_path)
    queues = [Queue(name, exchange)(reader.channel()) for name in ("a", "b")]
    for queue in queues:
        queue.declare()
    producer = Producer(writer.channel(), exchange)
    producer.publish("both")
    assert [take(queue) for queue in queues] == ["both", "both"]
    queues[0].delete()
    producer.publish("one")
    assert take(queues[1]) == "one"
    assert not (tmp_path / "queues" / "a.queue").exists()


@pytest.mark.parametrize("name", ["..", "../../out", "/etc/x", "a/b"])
def test_no_name_leaves_the_folder(tmp_path, connect, name):
    channel = connect(tmp_path / "outer" / "broker").channel()
    queue = Queue(name, Exchange(name, type="fanout"))(channel)
    queue.declare()
    Producer(channel, queue.exchange).publish("hello")
    assert take(queue) == "hello"
    assert [path.name for path in (tmp_path / "outer").iterdir()] == ["broker"]


def test_an_unacknowledged_message_returns_when_its_channel_closes(tmp_path, connect):
    connection = connect(tmp_path)
    queue = connection.SimpleQueue("q")
    queue.put("again")
    with Consumer(connection.channel(), [Queue("q")], callbacks=[lambda *_: None]) as consumer:
        connection.drain_events(timeout=PATIENCE)
        consumer.channel.close()
    assert take(connect(tmp_path).SimpleQueue("q")) == "again"


def test_a_folder_that_cant_be_used_is_a_lost_connection(tmp_path, connect):
    (tmp_path / "broker").write_text("a file where the folder should be")
    connection = connect(tmp_path / "broker")
    with pytest.raises(connection.connection_errors):
        connection.SimpleQueue("q").put(1)
