"""Requests that come a byte at a time, over real sockets, to a web process with few threads."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle

import pytest
import requests

from fl_server import receiving
from fl_server.receiving import BEGUN, HALF, TOO_LONG, WHOLE, state_of
from tests.server.web import running_web
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("receiving")]

GET = b"GET /health/ HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"username": ""}'
CLOSE = b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("received", "state"),
    [
        (b"", HALF),
        (GET, HALF),
        (GET + b"\r\n", WHOLE),
        (b"x" * 70_000, TOO_LONG),
        (POST + b"Content-Length: 5\r\n\r\n1234", HALF),
        (POST + b"content-LENGTH:5 \r\n\r\n12345", WHOLE),
        (POST + b"Content-Length: 5\r\n\r\n12345GET /", WHOLE),
        (POST + b"Content-Length: 0\r\n\r\n", WHOLE),
        (POST + b"Content-Length: 65537\r\n\r\n", BEGUN),
        (POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", BEGUN),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", BEGUN),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345", BEGUN),
        (POST + b"Content-Length : 5\r\n\r\n", BEGUN),
        (POST + b"Content-Length: +5\r\n\r\n", BEGUN),
        (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", BEGUN),
    ],
)
def test_what_is_there_of_a_request(received, state):
    assert state_of(received) == state


class Socket:
    """Receives what a test says, while time passes as it says."""

    def __init__(self, *parts):
        self.parts, self.now = list(parts), 0.0

    def settimeout(self, seconds):
        self.timeout = seconds

    def recv(self, _size):
        seconds, data = self.parts.pop(0)
        if seconds > self.timeout:
            raise TimeoutError
        self.now += seconds
        return data


def read_all(monkeypatch, *parts):
    sender = Socket(*parts)
    monkeypatch.setattr(receiving.time, "monotonic", lambda: sender.now)
    steady = receiving.SteadySocket(sender)
    return sum(len(steady.recv(1 << 20)) for _ in parts)


def test_a_large_body_may_pause_and_take_its_time(monkeypatch):
    assert read_all(monkeypatch, (25, b"a" * 100_000), (9, b"b" * 100_000)) == 200_000
    assert read_all(monkeypatch, *100 * [(10, b"a" * 90_000)]) == 9_000_000


def test_one_that_makes_no_progress_is_given_up(monkeypatch):
    with pytest.raises(TimeoutError):
        read_all(monkeypatch, *100 * [(1, b"a")])


class Reader(Socket):
    """Takes as many bytes each time as a test says."""

    taken = 0

    def send(self, data):
        size = len(self.recv(0)[: len(data)])
        self.taken += size
        return size


def write(monkeypatch, data, *parts):
    reader = Reader(*parts)
    monkeypatch.setattr(receiving.time, "monotonic", lambda: reader.now)
    receiving.SteadySocket(reader).sendall(data)
    return reader


def test_an_answer_may_be_read_at_leisure(monkeypatch):
    reader = write(monkeypatch, b"a" * 900_000, *100 * [(10, bytes(90_000))])
    assert reader.taken == 900_000


def test_who_hardly_reads_its_answer_is_given_up(monkeypatch):
    with pytest.raises(BrokenPipeError):
        write(monkeypatch, b"a" * 900_000, *1000 * [(1, b"a")])


CONTENT = bytes(range(256)) * 8192


@pytest.fixture
def file(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    with (tmp_path / "file").open("rb") as opened:
        yield opened


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # far less than the file
        yield ours, theirs


def test_a_part_of_a_file_arrives_although_its_reader_has_to_be_waited_for(file, pair):
    ours, theirs = pair
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(answer, theirs)
        receiving.SteadySocket(ours).sendfile(file, 1000, 1_000_000)
        ours.close()
        assert told.result() == CONTENT[1000:1_001_000]


def test_no_more_of_a_file_is_sent_than_there_is(file, pair):
    receiving.SteadySocket(pair[0]).sendfile(file, len(CONTENT) - 100, 1_000_000)
    assert pair[1].recv(1000) == CONTENT[-100:]


def test_who_reads_nothing_of_a_file_is_given_up(monkeypatch, file, pair):
    monkeypatch.setattr(receiving, "GRACE_SECONDS", 0.1)
    with pytest.raises(BrokenPipeError):
        receiving.SteadySocket(pair[0]).sendfile(file, 0, len(CONTENT))


# --- Over sockets ------------------------------------------------------------------------


THREADS = 8


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    with running_web(tmp_path_factory.mktemp("web"), threads=THREADS) as port:
        yield port


@pytest.fixture(scope="module")
def impatient_web(tmp_path_factory):
    """One that gives slow clients up within seconds."""
    folder = tmp_path_factory.mktemp("web")
    with running_web(folder, "tests.server.impatient", threads=THREADS) as port:
        yield port


@contextmanager
def sent(port, *parts):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        yield connection


def answer(connection):
    """Return all until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


STARTS = {
    "nothing": b"",
    "heads": GET,
    "empty lines": b"\r\n\r\n",
    "bodies": POST + b"Content-Length: 1000\r\n\r\n{",
    "awaited bodies": POST + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n{",
    "large bodies": POST + b"Content-Length: 65000000\r\n\r\n{",
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{",
    "seconds": GET + b"\r\n" + GET,
    "answers that are not closed": GET + CLOSE + b"\r\n",
}


@pytest.mark.parametrize("start", STARTS)
def test_half_sent_requests_hold_up_nobody(web, start):
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            stack.enter_context(sent(web, STARTS[start]))
        for _ in range(3):
            assert requests.get(f"http://127.0.0.1:{web}/health/", timeout=60).ok
        # All of them are in the middle of it still, or were told off: nobody's time ran out.


def test_who_hardly_reads_an_answer_leaves_the_threads_to_others(impatient_web):
    script = b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
    wish = GET.replace(b"/health/", script) + b"\r\n"
    health = f"http://127.0.0.1:{impatient_web}/health/"
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        readers = [stack.enter_context(socket.socket()) for _ in range(32)]
        for number, reader in enumerate(readers):
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)  # as in a network
            reader.bind((f"127.0.0.{2 + number % 4}", 0))  # one address doesn't get all threads
            reader.connect(("127.0.0.1", impatient_web))
            reader.sendall(wish * 8)  # more than the system takes off the server's hands
        turns = cycle(readers)
        for _ in range(2):  # until all of them are in the middle of an answer, and after that
            asked = pool.submit(requests.get, health, timeout=PATIENCE)
            wait_until(lambda: read_a_little(next(turns)) or asked.done(), seconds=45)  # noqa: B023
            assert asked.result().ok
            for _ in readers:
                wait_until(lambda: read_a_little(next(turns)) or True)


def read_a_little(reader):
    with suppress(OSError):  # nothing is there, or the server has closed
        reader.recv(4096, socket.MSG_DONTWAIT)


def test_a_request_may_come_in_pieces_and_a_connection_be_used_again(web):
    body = b"Content-Length: %d\r\n\r\n" % len(BODY)
    parts = [*((POST + body + BODY)[n : n + 1] for n in range(len(POST + body + BODY)))]
    with sent(web, *parts, b"\r\n", GET + b"\r\n" + GET + CLOSE + b"\r\n") as connection:
        told = answer(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"400", b"200", b"200"]


def test_a_body_may_wait_to_be_asked_for(web):
    head = POST + CLOSE + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(BODY)
    with sent(web, head) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(BODY)
        assert b"400 Bad Request" in answer(connection)


def test_a_head_without_end_is_refused(web):
    with sent(web, GET + b"X: " + b"a" * 70_000) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 431 ")


def test_who_does_not_go_on_is_cut_off(impatient_web):
    with sent(impatient_web, GET) as connection:
        assert answer(connection) == b""


@pytest.mark.parametrize(
    "header", ["SCRIPT_NAME: /a", "PATH_INFO: /a", "script_name: x", "REMOTE_USER: root"]
)
def test_a_header_is_no_setting_of_the_servers(web, header):
    with sent(web, GET + CLOSE + header.encode() + b"\r\n\r\n") as connection:
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


def test_a_header_does_not_say_where_the_server_lies(web):
    wish = GET.replace(b"/health/", b"/admin/") + CLOSE + b"SCRIPT_NAME: /admin\r\n\r\n"
    with sent(web, wish) as connection:
        assert b"Location: /admin/login/?next=/admin/\r\n" in answer(connection)
