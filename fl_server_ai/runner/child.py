"""The runner itself: takes jobs from its socket and does them, one after another."""

import json
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from billiard.util import set_pdeathsig  # type: ignore[attr-defined]  # not in its stubs

from fl_server_ai.inference.loading import Served, load, open_device
from fl_server_ai.inference.packing import pack
from fl_server_ai.inference.predicting import predict
from fl_server_ai.inference.summary import summarise
from fl_server_ai.runner import limits
from fl_server_ai.runner.errors import CannotLoad, JobRefused, Missing
from fl_server_ai.runner.jobs import Job, Load, Pack, Predict, Summarise, decode

SIGKILL = 9
MAX_REASON = 1000
MAX_TRACE = 10_000


def become_runner(nursery: int) -> None:
    """Die when the nursery does, lead a group of one's own, say nothing, draw other numbers."""
    set_pdeathsig(SIGKILL)
    if os.getppid() != nursery:
        os._exit(1)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    limits.volunteer_for_death()
    torch.seed()  # every fork would draw the same


def work(connection: socket.socket, memory_bytes: int, seconds: int) -> None:
    """Do jobs until the worker hangs up."""
    session = Session(memory_bytes)
    with connection.makefile("rb") as lines:
        for line in lines:
            limits.allow_processor(seconds)
            connection.sendall(json.dumps(_reply(session, line)).encode() + b"\n")


def _reply(session: "Session", line: bytes) -> dict[str, str]:
    """Do a job; say `done`, or what went wrong by the words of `pool.SAID`."""
    try:
        session.do(decode(line))
    except JobRefused as error:
        return {"refused" if session.works() else "spent": str(error)[:MAX_REASON]}
    except FileNotFoundError:  # the model has moved on since its row was read
        return {"refused": "A file is gone; try again."}
    except Missing as error:
        return {"missing": str(error)[:MAX_REASON]}
    except CannotLoad as error:
        return {"unloadable": str(error)[:MAX_REASON]}
    except Exception:  # the job ends here; whoever asked logs it
        return {"fault": traceback.format_exc()[-MAX_TRACE:]}
    return {"done": ""}


class Session:
    """What a runner has loaded."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._limited = False
        self._served: Served | None = None

    def do(self, job: Job) -> None:
        """Do a job, in the folder that its result goes to."""
        actions: dict[type[Job], Callable[[Any], None]] = {
            Load: self._load,
            Predict: lambda job: predict(self._loaded(), job),
            Summarise: lambda job: summarise(self._loaded(), job),
            Pack: self._pack,
        }
        if not isinstance(job, Load):
            os.chdir(Path(job.output).parent)
        actions[type(job)](job)

    def works(self) -> bool:
        """Whether the device does: what went wrong on a GPU can stay so while the process lives."""
        if self._served is None or self._served.device.type != "cuda":
            return True
        try:
            torch.cuda.synchronize(self._served.device)
        except RuntimeError:
            return False
        return True

    def _load(self, job: Load) -> None:
        device = open_device(job.device, self._memory_bytes)  # takes memory that isn't the model's
        self._limit_memory()
        self._served = load(job, device)

    def _pack(self, job: Pack) -> None:
        self._limit_memory()
        pack(job)

    def _limit_memory(self) -> None:
        if not self._limited:
            limits.limit_memory(self._memory_bytes)
            self._limited = True

    def _loaded(self) -> Served:
        if self._served is None:
            raise RuntimeError("nothing is loaded")
        return self._served
