"""News over both means, heard by real processes, and those who are woken by it."""

import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest

from fl_server_api import waiting
from fl_server_api.waiting import wait_for
from fl_server_core import news
from fl_server_core.news import EVERYBODY, Channel, Listener, Pipes
from fl_server_core.places import Places
from tests.servers import Redis
from tests.waiting import PATIENCE, wait_until

ANN, BOB = uuid.uuid4(), uuid.uuid4()
HOUR = 3600
HEARER = """
import sys
from fl_server_core.news import Channel, Pipes
from pathlib import Path

kind, place = sys.argv[1:]
means = Channel(place) if kind == "Channel" else Pipes(Path(place))
for news in means.hear():
    print(news.decode(), flush=True)
"""


@pytest.fixture
def redis():
    with Redis() as running:
        yield running


@pytest.fixture
def pipes(tmp_path):
    return Pipes(tmp_path / "news"), tmp_path / "news"


@pytest.fixture
def channel(redis):
    url = f"redis://127.0.0.1:{redis.port}"
    return Channel(url), url


@pytest.fixture(params=["pipes", pytest.param("channel", marks=pytest.mark.e2e)])
def place(request):
    """One means after the other, and where it is."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def means(place):
    return place[0]


@contextmanager
def hearing(means, place):
    """Yield another process that can hear."""
    command = [sys.executable, "-c", HEARER, type(means).__name__, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == f"{EVERYBODY.decode()}\n"
            yield process
        finally:
            process.kill()


def test_each_who_hears_is_told_each_line_in_order(means):
    hearers = [means.hear(), means.hear()]
    assert [next(hearer) for hearer in hearers] == 2 * [EVERYBODY]
    for word in (b"one", b"two three"):
        means.tell(word)
    assert [[next(hearer) for _ in range(2)] for hearer in hearers] == 2 * [[b"one", b"two three"]]


def test_another_process_hears(place):
    with hearing(*place) as other:
        place[0].tell(b"hello")
        assert other.stdout.readline() == "hello\n"


def test_nobody_need_hear(means):
    means.tell(b"hello")


def test_a_silence_ends_it(means, monkeypatch):
    monkeypatch.setattr(news, "SILENT_SECONDS", 0.05)
    assert list(means.hear()) == [EVERYBODY]


def test_who_was_killed_leaves_nothing_once_there_is_news(pipes):
    means, folder = pipes
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(hearing(means, folder))
    alive = means.hear()
    next(alive)
    assert len(list(folder.iterdir())) == 4
    means.tell(b"hello")
    assert len(list(folder.iterdir())) == 1
    assert next(alive) == b"hello"
    alive.close()
    assert list(folder.iterdir()) == []


@pytest.mark.e2e
def test_who_was_killed_leaves_nothing_in_redis(channel):
    means, url = channel
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(hearing(means, url))
    wait_until(lambda: means._redis.pubsub_numsub(Channel.NAME)[0][1] == 0)
    means.tell(b"hello")
    assert means._redis.keys() == []


def test_a_process_that_does_not_read_holds_up_nobody(pipes):
    means, _ = pipes
    busy = means.hear()
    next(busy)
    for _ in range(2000):
        means.tell(b"x" * 100)
    means.tell(EVERYBODY)
    heard = [next(busy) for _ in range(100)]
    assert heard == 100 * [b"x" * 100]  # whole ones, although not all


# --- Those who are woken ------------------------------------------------------------


class Mortal(Listener):
    """One whose thread can be ended, by a word."""

    def _listen(self):
        with suppress(SystemExit):
            super()._listen()

    def _wake(self, told):
        if told == b"end":
            sys.exit()
        super()._wake(told)


@pytest.fixture
def listener(means, monkeypatch):
    """One that hears."""
    monkeypatch.setattr(news, "means", lambda: means)
    listener, woken = Mortal(), threading.Event()
    with listener.waking(ANN, woken):
        assert woken.wait(PATIENCE)  # as everybody is, once it hears
    yield listener
    means.tell(b"end")
    listener._thread.join(PATIENCE)
    assert not listener._thread.is_alive()


@pytest.fixture
def waits(listener, monkeypatch):
    """Wait in a thread: `waits(look)`; the next look by itself would come in an hour."""
    monkeypatch.setattr(waiting, "WOKEN_PAUSE", HOUR)
    with ThreadPoolExecutor() as pool:
        yield lambda look, user=ANN: pool.submit(
            wait_for, look, 2 * PATIENCE, places=Places(2), user=user, listener=listener
        )


def test_who_sleeps_is_woken_by_a_commit(waits, means):
    looks, committed = [], []
    found = waits(lambda: looks.append(None) or list(committed))
    wait_until(lambda: len(looks) == 2)
    committed.append("message")
    means.tell(ANN.hex.encode())
    assert found.result(timeout=PATIENCE) == committed


@pytest.mark.parametrize("number", [1, 2])
def test_what_comes_right_after_a_look_is_not_missed(waits, means, number):
    looks = []

    def look():
        looks.append(None)
        if len(looks) == number:
            means.tell(ANN.hex.encode())  # by whoever has just committed it
        return looks[number:]

    assert waits(look).result(timeout=PATIENCE)


def test_others_go_on_sleeping(listener, means):
    mine, other = threading.Event(), threading.Event()
    with listener.waking(ANN, mine), listener.waking(BOB, other):
        means.tell(ANN.hex.encode())
        assert mine.wait(PATIENCE)
        assert not other.is_set()
        mine.clear()
        means.tell(EVERYBODY)
        assert mine.wait(PATIENCE)
        assert other.wait(PATIENCE)


def test_a_process_listens_once_and_no_sooner_than_somebody_waits(monkeypatch):
    began = []
    monkeypatch.setattr(Listener, "_listen", lambda who: began.append(who))
    listener = Listener()
    assert began == []
    for _ in range(2):
        with listener.waking(ANN, threading.Event()):
            pass
    listener._thread.join(PATIENCE)
    assert began == [listener]


@pytest.mark.e2e
@pytest.mark.parametrize("place", ["channel"], indirect=True)
def test_a_broker_that_was_away_is_heard_again(listener, waits, means, redis, monkeypatch):
    monkeypatch.setattr(news, "PAUSE_SECONDS", 0.1)
    committed = []
    found = waits(lambda: list(committed))
    redis.kill()
    committed.append("while it was away")
    assert found.result(timeout=PATIENCE)
    assert not listener.hears
    redis.start()
    wait_until(lambda: listener.hears)
    woken = threading.Event()
    with listener.waking(ANN, woken):
        means.tell(ANN.hex.encode())
        assert woken.wait(PATIENCE)
