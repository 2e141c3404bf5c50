"""What listens where participants are posted to: it takes all at once and notes when it came."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import StreamRequestHandler, ThreadingTCPServer


@dataclass(frozen=True)
class Message:
    """A notification: to which participant, what it asks for, when it had come whole."""

    number: int
    kind: str
    round: int | None
    came: float


Take = Callable[[Message], object]


class Handler(StreamRequestHandler):
    """A connection of the server's, which may be kept."""

    server: "Inbox"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer each message before anything is done about it."""
        while line := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline().lower()) not in {b"\r\n", b""}:
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            body = self.rfile.read(length)
            came = time.monotonic()
            self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            sent = json.loads(body)
            number = int(line.split()[1].rpartition(b"/")[2])
            kind, round_number = sent["notification_type"], sent["body"].get("round")
            self.server.take(Message(number, kind, round_number, came))


class Inbox(ThreadingTCPServer):
    """Hands every message to `take`, in a thread."""

    daemon_threads = True
    request_queue_size = 256
    take: Take


@contextmanager
def listening(take: Take) -> Iterator[str]:
    """Yield the URL below which participants are posted to."""
    with Inbox(("127.0.0.1", 0), Handler) as inbox:
        inbox.take = take
        thread = threading.Thread(target=inbox.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{inbox.server_address[1]}"
        finally:
            inbox.shutdown()
            thread.join()
