"""The runner itself: takes jobs from its socket and does them, one after another."""

import json
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from billiard.util import set_pdeathsig  # type: ignore[attr-defined]  # not in its stubs

from fl_server_ai.failures import Failure, JobRefused, NoCage, RunnerFault, RunnerSpent
from fl_server_ai.inference.jobs.loading import Served, load, open_device
from fl_server_ai.inference.jobs.packing import pack
from fl_server_ai.inference.jobs.predicting import predict
from fl_server_ai.inference.jobs.scratch import make_scratch
from fl_server_ai.inference.jobs.summary import summarise
from fl_server_ai.inference.protocol import Job, Load, Pack, Predict, Summarise, receive
from fl_server_ai.inference.runner import cage, limits
from fl_server_ai.inference.terms import Terms

SIGKILL = 9


def become_runner(fork_server: int, terms: Terms) -> "Session":
    """Become nothing but that: caged, alone in a group, silent, with random numbers of its own.

    Dies when the fork server does.
    """
    set_pdeathsig(SIGKILL)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    limits.volunteer_for_death()
    limits.limit_numbers()
    memory = limits.Memory(terms.memory_bytes)
    make_scratch()
    torch.seed()  # every fork would draw the same
    report = cage.enter(gpu=cage.has_gpu(terms.device))
    if os.getppid() != fork_server:
        os._exit(1)
    return Session(memory, report, must_hold=terms.cage_must_hold)


def work(connection: socket.socket, session: "Session", seconds: int) -> None:
    """Do jobs until the worker hangs up."""
    while True:
        with ExitStack() as stack:
            job = receive(connection, stack)
            if job is None:
                return
            limits.allow_processor(seconds)
            said, result = _reply(session, job)
        connection.sendall(json.dumps(said).encode() + b"\n")
        connection.sendall(result)


def _reply(session: "Session", job: Job) -> tuple[dict[str, Any], bytes]:
    """Do a job; say `done` and how long the result is, or tell the failure."""
    try:
        result = session.do(job)
    except JobRefused as error:
        failure: Failure = error if session.works() else RunnerSpent(str(error))
    except Failure as error:
        failure = error
    except Exception:  # the job ends here; whoever asked logs it
        failure = RunnerFault(traceback.format_exc()[-RunnerFault.longest :])
    else:
        return {"done": len(result)}, result
    return failure.tell(), b""


class Session:
    """What a runner has loaded, and what holds it."""

    def __init__(self, memory: limits.Memory, report: cage.Report, *, must_hold: bool) -> None:
        self._memory = memory
        self._report = report
        self._must_hold = must_hold
        self._served: Served | None = None

    def do(self, job: Job) -> bytes:
        """Do a job and return its result."""
        if self._must_hold and not self._report.holds:
            raise NoCage(f"the cage doesn't hold; {self._report}")
        actions: dict[type[Job], Callable[[Any], bytes]] = {
            Load: self._load,
            Predict: lambda job: predict(self._loaded(), job),
            Summarise: lambda job: summarise(self._loaded(), job),
            Pack: self._pack,
        }
        return actions[type(job)](job)

    def works(self) -> bool:
        """Whether the device does: what went wrong on a GPU can stay so while the process lives."""
        if self._served is None or self._served.device.type != "cuda":
            return True
        try:
            torch.cuda.synchronize(self._served.device)
        except RuntimeError:
            return False
        return True

    def _load(self, job: Load) -> bytes:
        device = open_device(job.device, self._memory.size)  # takes memory that isn't the model's
        self._memory.limit()
        self._served = load(job, device)
        return b""

    def _pack(self, job: Pack) -> bytes:
        self._memory.limit()
        return pack(job)

    def _loaded(self) -> Served:
        if self._served is None:
            raise RuntimeError("nothing is loaded")
        return self._served
