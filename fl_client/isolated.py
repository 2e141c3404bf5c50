"""Calling the user's functions in a process of their own, which has no token.

The process is told of a job over a pipe, as JSON, with the path of the model's file; it answers
with JSON and leaves weights in safetensors files. So nothing that it says can run code here. It
imports the user's program anew, and what that says at its top is all it knows; or it is forked,
with all that this process has in its memory. It is the same user of the machine: what that user may
read, the token's file too, it may read.
"""

import json
import multiprocessing
import os
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from fl_client.errors import FlError, Unfit
from fl_client.job import MOMENTS, TEST, TRAIN, Answer, Function, Job
from fl_client.local import Factory, Local
from fl_client.weights import dtype_of, read_arrays, write_arrays

SECRETS = ("FL_TOKEN", "FL_PASSWORD")
LONGEST_ANSWER = 1 << 20

WEIGHTS = {TRAIN: 1, MOMENTS: 2, TEST: 0}
"""How many files of weights answer a job."""


class Isolated:
    """Runs the functions in children: one for each training, because each brings other code."""

    def __init__(
        self, functions: Mapping[str, Function], model: Factory | None = None, *, how: str = "spawn"
    ) -> None:
        self._context: Any = multiprocessing.get_context(how)
        self._work = (dict(functions), model)
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="fl-client-")
        return self

    def __exit__(self, *_: object) -> None:
        for training in [*self._children]:
            self.end(training)
        self._folder.cleanup()

    def has_begun(self, training: str) -> bool:
        """Tell whether a part of the model is enough to go on with."""
        return training in self._children

    def run(self, job: Job, model: Path) -> Answer:
        """Have a child do a job; raises `FlError` with what went wrong there."""
        if job.training not in self._children:
            self._children[job.training] = _Child(self._context, self._work)
        order = {"job": asdict(job), "model": str(model.resolve()), "folder": self._folder.name}
        try:
            return self._read(self._children[job.training].ask(order), WEIGHTS[job.kind])
        except (EOFError, OSError) as error:
            self.end(job.training)
            raise FlError("The process that ran the model's code has died over it.") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unfit("The process that runs the model's code says what it can't say.") from error

    def end(self, training: str) -> None:
        """Let the training's child go."""
        if child := self._children.pop(training, None):
            child.end()

    def _read(self, said: Any, expected: int) -> Answer:
        """Return what a child said, whose every byte may be the model's maker's."""
        match said:
            case {"error": str(reason)}:
                raise FlError(f"In the process that runs the model's code: {reason}")
            case {"weights": int(count), "samples": int(samples), "metrics": dict(metrics)} if (
                count == expected
            ):
                files = [_weights_file(self._folder.name, number) for number in range(count)]
                weights = tuple(read_arrays(file) for file in files)
                return Answer(weights, samples, {str(k): float(v) for k, v in metrics.items()})
        raise ValueError(said)


class _Child:
    """A process, and the pipe to it."""

    def __init__(self, context: Any, work: tuple[Mapping[str, Function], Factory | None]) -> None:
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, *work), daemon=True)
        with _without_secrets():
            self._process.start()
        other.close()

    def ask(self, order: dict[str, Any]) -> Any:
        """Have it do a job; raises OSError or EOFError if it is gone, ValueError for no JSON."""
        self._pipe.send_bytes(json.dumps(order).encode())
        return json.loads(self._pipe.recv_bytes(LONGEST_ANSWER))

    def end(self) -> None:
        """End it, whatever it does."""
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def is_child() -> bool:
    """Tell whether this process was started to run functions, and is to start nothing itself."""
    return multiprocessing.parent_process() is not None


def _serve(pipe: Connection, functions: Mapping[str, Function], model: Factory | None) -> None:
    """Do one job after another until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    local = Local(functions, model, trust_model=True)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            order = json.loads(pipe.recv_bytes())
            try:
                said = _said(local.run(Job(**order["job"]), Path(order["model"])), order["folder"])
            except Exception as error:
                traceback.print_exc()
                said = {"error": f"{type(error).__name__}: {error}"[:2000]}
            pipe.send_bytes(json.dumps(said).encode())


def _end_with_parent() -> None:
    """End even in the middle of a job, because nobody waits for its answer any more."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _said(answer: Answer, folder: str) -> dict[str, Any]:
    for number, weights in enumerate(answer.weights):
        dtypes = {name: dtype_of(array) for name, array in weights.items()}
        write_arrays(weights, dtypes, _weights_file(folder, number))
    return {
        "weights": len(answer.weights),
        "samples": answer.samples,
        "metrics": dict(answer.metrics),
    }


def _weights_file(folder: str, number: int) -> Path:
    return Path(folder) / f"weights-{number}.safetensors"


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Start a process whose environment has none."""
    hidden = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
