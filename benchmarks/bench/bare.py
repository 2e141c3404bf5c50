"""The least that a server could do: takes bodies into a file, sends a file. No checks, no users.

    python -m benchmarks.bench.bare FOLDER

serves GET of the files in the folder and POST of anything, with Python's own HTTP server, and
prints its URL. What the real server takes is set beside it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.serving import ROOT, die_with_parent


class Handler(SimpleHTTPRequestHandler):
    """Keeps connections, and keeps quiet."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Write the body to a file that goes with the answer."""
        left = int(self.headers["Content-Length"])
        with tempfile.TemporaryFile(dir=self.directory) as file:
            while left and (data := self.rfile.read(min(left, 1 << 18))):
                file.write(data)
                left -= len(data)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def bare_server(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the URL and the id of a process that serves the folder."""
    command = [sys.executable, "-m", "benchmarks.bench.bare", folder]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    ) as process:
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()


class Server(ThreadingHTTPServer):
    """Has room for many who connect at once; Python's own has for five."""

    request_queue_size = 256


def serve(folder: str) -> None:
    """Serve until it is ended."""
    with Server(("127.0.0.1", 0), lambda *args: Handler(*args, directory=folder)) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
