"""Whole trainings over links that are cut again and again.

    python -m benchmarks.links --megabytes 69

Starts a server of its own (`manage.py serve`) and a proxy before it that cuts every connection
after a random number of bytes. Clients train a model of weights alone, round after round: they go
on with their downloads by `Range` and with their uploads by tus. Prints how often they were cut
off, what they had to send again, whether a round was lost, and how many updates would have come
through in one piece. The published case that it answers had 8 clients and 689 MB, and links that
ended its runs at round 7 to 10.
"""

import argparse
import random
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from safetensors.numpy import load, save_file

from tests.e2e.conftest import running_server
from tests.e2e.people import Person

BLOCK = 1 << 14
IN_FLIGHT = 1 << 16
"""Bytes that a link holds, as most do: what is in there is lost when it is cut."""

TENSOR = "weights"
BROKEN = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.Timeout)
RESUMABLE = {"Tus-Resumable": "1.0.0"}


@dataclass
class Proxy:
    """Hands on what comes to a server; cuts each connection after some bytes, `mean` of them."""

    server: str
    mean: float
    cuts: int = 0

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Yield the address to use in place of the server's."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, IN_FLIGHT)
            thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
                thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = listener.accept()
                address = urlsplit(self.server)
                server = socket.create_connection((address.hostname, address.port))
                server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, IN_FLIGHT)
                link = _Link(self, [client, server], random.expovariate(1 / self.mean))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=link.pump, args=pair, daemon=True).start()


@dataclass
class _Link:
    proxy: Proxy
    ends: list[socket.socket]
    left: float
    ended: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(BLOCK):
                with self.lock:
                    self.left -= len(data)
                    if self.left < 0:
                        self._cut()
                        return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        with self.lock:
            self.ended += 1
            if self.ended == len(self.ends):
                for end in self.ends:
                    end.close()

    def _cut(self) -> None:
        """Reset both ends: what is on its way is lost."""
        self.proxy.cuts += 1
        for end in self.ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)
            end.close()


@dataclass
class Client:
    """A participant behind bad links; what it sends again is counted."""

    url: str
    person: Person
    number: int
    chunk: int
    folder: Path
    again: list[int] = field(default_factory=list)
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._session.mount("http://", _Narrow())
        self._session.headers.update(self.person.session.headers)

    def take_part(self) -> None:
        """Do what is asked until the training is over."""
        try:
            while self._work():
                pass
        except BaseException as error:
            self.error = error

    def _work(self) -> bool:
        for item in self._ask("GET", "/notifications/", params={"wait": 20}).json():
            kind, body = item["notification_type"], item["body"]
            path = f"/models/{body['global_model_uuid']}/"
            if kind == "UPDATE_ROUND_START":
                self._update(path, body["round"])
            elif kind == "MODEL_TEST_ROUND":
                form = {"metric_names": ["loss"], "metric_values": [0]}
                self._ask("POST", f"{path}metrics/", data=form)
            self._ask("POST", f"/notifications/{item['id']}/ack/")
            if kind == "TRAINING_FINISHED":
                return False
        return True

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask until there is an answer."""
        while True:
            with suppress(*BROKEN):
                answer = self._session.request(
                    method, f"{self.url}/api{path}", timeout=60, **options
                )
                if answer.status_code < 500:
                    return answer

    def _update(self, path: str, round: int) -> None:
        """Download, add one's number to each weight, and hand that in."""
        file = self.folder / f"update-{self.number}"
        self._download(path, file)
        with file.open("r+b") as opened:
            start = 8 + int.from_bytes(opened.read(8), "little")
        weights = np.memmap(file, "<f4", "r+", start)
        weights += self.number
        weights.flush()
        upload = self._upload(file)
        form = {"round": round, "sample_size": 1, "model_file_upload": upload}
        self._ask("POST", path, data=form)  # a repeat finds the upload used, and that is all right

    def _download(self, path: str, file: Path) -> None:
        tag, there = "", 0
        while True:
            headers = {"Range": f"bytes={there}-", "If-Range": tag} if tag else {}
            url = f"{self.url}/api{path}"
            with (
                suppress(*BROKEN),
                self._session.get(url, headers=headers, stream=True, timeout=60) as answer,
            ):
                with file.open("ab" if answer.status_code == 206 else "wb") as opened:
                    tag = answer.headers["ETag"]
                    for piece in answer.iter_content(BLOCK):
                        opened.write(piece)
                return
            there = file.stat().st_size if file.exists() else 0

    def _upload(self, file: Path) -> str:
        """Send a file by tus, chunk by chunk; return its id."""
        size = file.stat().st_size
        created = self._ask("POST", "/uploads/", headers=RESUMABLE | {"Upload-Length": str(size)})
        path = urlsplit(created.headers["Location"]).path.removeprefix("/api")
        offset = 0
        while offset < size:
            sent = _Counted(file, offset, min(self.chunk, size - offset))
            headers = RESUMABLE | {"Upload-Offset": str(offset)}
            headers |= {"Content-Type": "application/offset+octet-stream"}
            try:
                self._session.patch(f"{self.url}/api{path}", data=sent, headers=headers, timeout=60)
            except BROKEN:
                reached = self._offset(path)
                self.again.append(max(sent.count - (reached - offset), 0))
            else:
                reached = self._offset(path)
            offset = reached
        return path.strip("/").rpartition("/")[2]

    def _offset(self, path: str) -> int:
        return int(self._ask("HEAD", path, headers=RESUMABLE).headers["Upload-Offset"])


class _Narrow(HTTPAdapter):
    """Has little on its way at once, so that what was sent has left."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        narrow = (socket.SOL_SOCKET, socket.SO_SNDBUF, IN_FLIGHT)
        super().init_poolmanager(*args, socket_options=[narrow], **options)


class _Counted:
    """A stretch of a file that counts what is read of it."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file, self._size, self.count = path.open("rb"), size, 0
        self._file.seek(start)

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        left = self._size - self.count
        data = self._file.read(left if size < 0 else min(size, left))
        self.count += len(data)
        return data


def train(options: argparse.Namespace, server: str, folder: Path) -> None:
    """Run the training and print what became of it."""
    actor = Person(server)
    count = options.megabytes * 250_000
    model = folder / "model"
    save_file({TENSOR: np.zeros(count, np.float32)}, model)
    with model.open("rb") as file:
        answer = requests.post(
            f"{server}/api/models/?name=weights&description=d",
            data=file,
            headers={"Content-Type": "application/octet-stream"}
            | {"Authorization": str(actor.session.headers["Authorization"])},
            timeout=600,
        )
    model_id = answer.json()["model_id"]
    proxy = Proxy(server, options.cut_every * 1e6)
    with proxy.listening() as url:
        people = [Person(server) for _ in range(options.clients)]
        clients = [
            Client(url, person, number, options.chunk << 20, folder)
            for number, person in enumerate(people)
        ]
        training = actor.open_training(model_id, people, options.rounds)
        begun = time.monotonic()
        actor.start(training)
        threads = [threading.Thread(target=client.take_part) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begun
    for client in clients:
        if client.error:
            raise client.error
    report(options, actor, model_id, clients, proxy.cuts, seconds)


def report(
    options: argparse.Namespace,
    actor: Person,
    model: str,
    clients: list[Client],
    cuts: int,
    seconds: float,
) -> None:
    """Print the figures; end with an error if an update is missing."""
    versions = actor.ask("GET", f"/models/{model}/checkpoints/")[1:]
    whole = [row for row in versions if len(row["updates"]) == options.clients]
    again = [amount for client in clients for amount in client.again]
    megabytes = options.megabytes * options.clients * options.rounds
    in_one_piece = np.exp(-options.megabytes / options.cut_every)
    size = f"{options.clients} clients, {options.megabytes} MB"
    print(f"{options.rounds} rounds, {size}: {seconds:.0f} s")
    print(f"connections cut: {cuts}, of them {len(again)} in an upload of {megabytes} MB in all")
    print(f"rounds with all updates: {len(whole)} of {options.rounds}")
    largest, total = max(again, default=0), sum(again)
    print(f"sent again after a cut: {largest / 1e6:.2f} MB at most, {total / 1e6:.1f} MB in all")
    print(f"uploads of this size that come through in one piece: {in_one_piece:.1%}")
    weights = load(actor.ask("GET", f"/models/{model}/"))[TENSOR]
    expected = options.rounds * (options.clients - 1) / 2  # all have added their numbers
    if len(whole) < options.rounds or not np.allclose(weights, expected):
        raise SystemExit("A round was lost.")
    if largest > options.chunk << 20:
        raise SystemExit("More than a chunk was sent again.")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, start a server, train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=689)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--chunk", type=int, default=8, help="MiB that are sent in one request")
    parser.add_argument(
        "--cut-every", type=float, default=0, help="MB, on average; a third of a file"
    )
    options = parser.parse_args(arguments)
    options.cut_every = options.cut_every or options.megabytes / 3
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = folder / "data"
        data.mkdir()
        url = stack.enter_context(running_server(data))
        train(options, url, folder)


if __name__ == "__main__":
    main()
