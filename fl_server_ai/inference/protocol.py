"""What a runner is asked to do, and how that crosses over: a line of JSON, and open files.

A runner can open nothing itself. So the worker opens what a job is about, to read it, and the
descriptors go along; the result comes back over the same socket.
"""

import json
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_LINE = 1 << 16
MAX_FILES = 253
"""In one message (SCM_MAX_FD of Linux)."""


@dataclass(frozen=True)
class Load:
    """Load models: archives, each perhaps with the numbers to put into it.

    `moments` is empty or holds SWAG's first and second. `device` is an `FL_DEVICE`. No result.
    """

    members: list[tuple[BinaryIO, BinaryIO | None]]
    moments: list[BinaryIO]
    preprocessing: BinaryIO | None
    device: str


@dataclass(frozen=True)
class Predict:
    """Predict with what is loaded; the result are safetensors.

    `method` is the path of one of the functions that the runners' terms name. `is_json` tells
    that the input came as JSON, a list or base64; else it is bytes of any kind.
    """

    method: str
    samples: int
    softmax: bool
    input: BinaryIO
    is_json: bool
    input_shape: list[int | None] | None
    max_batch: int


@dataclass(frozen=True)
class Summarise:
    """Describe the layers of the loaded model as JSON."""

    input_shape: list[int | None]


@dataclass(frozen=True)
class Pack:
    """Turn the result of a `Predict` into an answer; for a runner that loads no model."""

    source: BinaryIO
    form: str


Job = Load | Predict | Summarise | Pack
KINDS: dict[str, type[Job]] = {kind.__name__: kind for kind in (Load, Predict, Summarise, Pack)}


def send(connection: socket.socket, job: Job) -> None:
    """Send a job with its files."""
    files: list[BinaryIO] = []

    def numbered(file: BinaryIO) -> dict[str, int]:
        if file not in files:
            files.append(file)
        return {"file": files.index(file)}

    line = json.dumps({"kind": type(job).__name__, **vars(job)}, default=numbered).encode()
    for start in range(0, len(files), MAX_FILES):
        numbers = [file.fileno() for file in files[start : start + MAX_FILES]]
        socket.send_fds(connection, [b" "], numbers)  # which JSON may begin with
    connection.sendall(line + b"\n")


def receive(connection: socket.socket, stack: ExitStack) -> Job | None:
    """Return the next job, its files open until the stack closes; None when there is no more."""
    line, files = b"", list[BinaryIO]()
    while not line.endswith(b"\n"):
        part, descriptors, _, _ = socket.recv_fds(connection, MAX_LINE, MAX_FILES)
        files += [stack.enter_context(os.fdopen(number, "rb")) for number in descriptors]
        if not part:
            return None
        line += part
    fields = json.loads(line, object_hook=lambda found: _file(found, files))
    return KINDS[fields.pop("kind")](**fields)


def _file(found: dict[str, Any], files: list[BinaryIO]) -> Any:
    return files[found["file"]] if found.keys() == {"file"} else found
