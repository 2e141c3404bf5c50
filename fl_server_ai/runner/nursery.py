"""The process that runners are forked from: it has imported torch, and runs nothing itself.

    python -m fl_server_ai.runner.nursery DESCRIPTOR MEMORY_BYTES SECONDS

Over the socket of that descriptor it is told, one order at a time, to fork a runner (the order
carries the runner's end of a socket; the reply is its process id) and to end one (the reply
is how it ended). It ends when its worker does, which closes the socket, and takes the runners
with it.
"""

import json
import os
import signal
import socket
import sys

from fl_server_ai.runner import child


def main(descriptor: int, memory_bytes: int, seconds: int) -> None:
    """Take orders until the worker is gone."""
    control = socket.socket(fileno=descriptor)
    runners: set[int] = set()
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not order:
            return
        if descriptors:
            reply = _fork(control, descriptors[0], memory_bytes, seconds)
            runners.add(reply)
        else:
            reply = _end(json.loads(order), runners)
        control.sendall(json.dumps(reply).encode())


def _fork(control: socket.socket, descriptor: int, memory_bytes: int, seconds: int) -> int:
    """Return the process id of a new runner, which never gets out of this function."""
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    try:
        control.close()
        child.become_runner(nursery)
        child.work(socket.socket(fileno=descriptor), memory_bytes, seconds)
    finally:
        os._exit(0)


def _end(pid: int, runners: set[int]) -> int:
    """Kill a runner and all that it may have started; return how it ended, as `wait` does.

    Nobody else waits for runners, so the id is still the runner's. One that isn't ours was an
    earlier nursery's, and died with it.
    """
    if pid not in runners:
        return 0
    runners.remove(pid)
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it isn't a group yet; or it is dead (macOS)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
