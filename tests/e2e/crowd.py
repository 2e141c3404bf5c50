"""Many users at once whose messages are pushed to them, and who do what is asked all at once."""

import json
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.e2e.people import Person
from tests.waiting import wait_until

Message = tuple[str, int | None]


def step_of(message: dict) -> Message:
    """Return what a message is about."""
    return message["notification_type"], message["body"].get("round")


class Mailboxes:
    """What was posted to whom: by path and training, how often each message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], Counter[Message]] = defaultdict(Counter)

    def take(self, path: str, message: dict) -> int | None:
        """Note what was posted there; return the answer's status, None for no answer."""
        with self._lock:
            self._seen[path, message["training_uuid"]][step_of(message)] += 1
        return 204

    def seen(self, person: Person, training: str) -> Counter[Message]:
        """Return how often a person got each message of a training."""
        with self._lock:
            return self._seen[f"/{person.endpoint.rsplit('/', 1)[1]}", training].copy()

    def await_all(self, people: list[Person], training: str, message: Message) -> None:
        """Wait until each of them has it."""
        wait_until(lambda: all(message in self.seen(person, training) for person in people))


@contextmanager
def listening(mailboxes: Mailboxes | None = None) -> Iterator[tuple[str, Mailboxes]]:
    """Yield the URL below which everything is taken, and what came."""
    mailboxes = mailboxes or Mailboxes()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = mailboxes.take(self.path, json.loads(body))
            if status is None:
                self.close_connection = True
            else:
                self.send_response(status)
                self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", mailboxes
        httpd.shutdown()
        thread.join()


@dataclass
class Hanging:
    """A receiver that takes connections and never answers."""

    listener: socket.socket
    connections: list[socket.socket]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/"

    def held(self) -> int:
        """Return how many connections the server has opened here and not given up."""
        try:
            while True:
                connection, _ = self.listener.accept()
                connection.setblocking(False)
                self.connections.append(connection)
        except OSError:  # no more has come
            return sum(not ended(connection) for connection in self.connections)

    def end(self) -> None:
        """Close them, and take no more."""
        self.held()
        self.listener.close()
        while self.connections:
            self.connections.pop().close()


@contextmanager
def hanging() -> Iterator[Hanging]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        listener.setblocking(False)
        receiver = Hanging(listener, [])
        yield receiver
        receiver.end()


def ended(connection: socket.socket) -> bool:
    """Tell whether the other side has closed it; what it has sent is dropped."""
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def at_once(*calls):
    """Run the calls in threads that all start at the same moment."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
