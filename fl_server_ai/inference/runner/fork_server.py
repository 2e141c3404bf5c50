"""The process that runners are forked from: it has imported all they need, and runs nothing.

    python -m fl_server_ai.inference.runner.fork_server DESCRIPTOR

Over the socket of that descriptor it is told the runners' terms first, then, one order at a
time, to fork a runner (the order carries the runner's end of a socket; the reply is its process
id) and to end one (the reply is how it ended). It ends when its worker does, which closes the
socket, and takes the runners with it.
"""

import json
import os
import signal
import socket
import sys

from fl_server_ai.inference.jobs.predicting import find_method
from fl_server_ai.inference.runner import child
from fl_server_ai.inference.terms import Terms

MAX_ORDER = 1 << 16


def take_orders(control: socket.socket) -> None:
    """Take orders until the worker is gone."""
    terms: Terms | None = None
    runners: set[int] = set()
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, MAX_ORDER, 1)
        if not order:
            return
        if terms is None:
            terms, reply = Terms(**json.loads(order)), os.getpid()
            for path in terms.methods:
                find_method(path)
        elif descriptors:
            reply = _fork(control, descriptors[0], terms)
            runners.add(reply)
        else:
            reply = _end(json.loads(order), runners)
        control.sendall(json.dumps(reply).encode())


def _fork(control: socket.socket, descriptor: int, terms: Terms) -> int:
    """Return the process id of a new runner, which never gets out of this function."""
    fork_server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    try:
        control.close()
        worker = socket.socket(fileno=descriptor)  # which asks the system what it is
        session = child.become_runner(fork_server, terms)
        child.work(worker, session, terms.seconds)
    finally:
        os._exit(0)


def _end(pid: int, runners: set[int]) -> int:
    """Kill a runner; return how it ended, as `wait` does.

    Nobody else waits for runners, so the id is still the runner's. One that isn't ours was an
    earlier fork server's, and died with it.
    """
    if pid not in runners:
        return 0
    runners.remove(pid)
    try:
        os.killpg(pid, signal.SIGKILL)  # with what it may have started if no cage holds it
    except (ProcessLookupError, PermissionError):  # it isn't a group yet; or it is dead (macOS)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    take_orders(socket.socket(fileno=int(sys.argv[1])))
