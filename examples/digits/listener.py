"""Being posted to, for a client with a port: what was accepted is not lost, nor is forged taken."""

import base64
import hmac
import json
import queue
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def listen(port: int, folder: Path, secret: str = "") -> tuple[str, Iterator[dict[str, Any]]]:
    """Take notifications in a thread, answered at once; return the address and what comes.

    The server doesn't repeat what was accepted. So each one lies in the folder before the answer
    goes out, until whoever has done its work removes its `file`; what is left there comes first.
    """
    folder.mkdir(exist_ok=True)
    inbox: queue.Queue[Path] = queue.Queue()
    for left in sorted(folder.glob("*.json")):
        inbox.put(left)

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            genuine = not secret or is_genuine(secret, self.headers, body)
            if genuine:
                part = folder / f"{time.time_ns()}.part"  # never half a file under its name
                part.write_bytes(body)
                inbox.put(part.rename(part.with_suffix(".json")))
            self.send_response(204 if genuine else 401)
            self.end_headers()

    listener = ThreadingHTTPServer(("127.0.0.1", port), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{listener.server_port}/", (
        json.loads(path.read_bytes()) | {"file": path} for path in iter(inbox.get, None)
    )


def is_genuine(secret: str, headers: Any, body: bytes) -> bool:
    """Tell whether a body was signed with the secret, in the last five minutes."""
    sent = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{sent[0]}.{sent[1]}.".encode() + body, "sha256")
    expected = f"v1,{base64.b64encode(digest).decode()}".encode()
    if not any(hmac.compare_digest(expected, one.encode()) for one in sent[2].split()):
        return False
    return abs(time.time() - int(sent[1])) < 300  # signed, so it is a number
