"""Being posted to: what was accepted isn't lost, and what is forged isn't accepted.

The server signs as docs/notifications.md says.
"""

import base64
import hmac
import json
import logging
import queue
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

LONGEST_BODY = 1 << 20
VALID_SECONDS = 300
ID = re.compile(r"[\w-]{1,100}")


def new_secret() -> str:
    """Return a secret for the server to sign with."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def is_genuine(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether a body was signed with the secret, in the last minutes."""
    sent = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{sent[0]}.{sent[1]}.".encode() + body, "sha256")
    expected = f"v1,{base64.b64encode(digest).decode()}".encode()
    if not any(hmac.compare_digest(expected, one.encode()) for one in sent[2].split()):
        return False
    age = time.time() - int(sent[1])  # signed, so it is a number
    if abs(age) >= VALID_SECONDS:
        logger.warning("A message is refused, because it is %.0f s old by the clock here.", age)
    return abs(age) < VALID_SECONDS


class Inbox:
    """A folder where each message lies until its work is done; the server doesn't repeat them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._waiting: queue.Queue[Path] = queue.Queue()
        self._seen: set[str] = set()
        for left in sorted(folder.glob("*.json")):
            self._seen.add(left.stem.partition(".")[2])
            self._waiting.put(left)

    def accept(self, message_id: str, body: bytes) -> None:
        """Write a message down, unless it has come before."""
        if message_id in self._seen:
            return
        part = self._folder / f"{time.time_ns()}.{message_id}.part"  # never half of it
        part.write_bytes(body)
        self._waiting.put(part.rename(part.with_suffix(".json")))
        self._seen.add(message_id)

    def items(self) -> Iterator[dict[str, Any]]:
        """Yield what has come, and waits for more; each with its `file`."""
        while True:
            path = self._waiting.get()
            yield json.loads(path.read_bytes()) | {"file": path}


@contextmanager
def listening(address: tuple[str, int], secret: str, inbox: Inbox) -> Iterator[int]:
    """Take messages in threads, answered at once; yields the port."""

    class Listener(BaseHTTPRequestHandler):
        timeout = 10  # of a connection on which nothing comes

        def do_POST(self) -> None:
            """Accept what is signed."""
            length = self.headers.get("Content-Length", "")
            size = int(length[:20]) if length.isdecimal() else LONGEST_BODY + 1
            if size > LONGEST_BODY:
                self._answer(413)
                return
            body, message_id = self.rfile.read(size), self.headers.get("webhook-id", "")
            headers = {name.lower(): value for name, value in self.headers.items()}
            genuine = is_genuine(secret, headers, body) and ID.fullmatch(message_id)
            if genuine:
                inbox.accept(message_id, body)
            self._answer(204 if genuine else 401)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(address, Listener)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
