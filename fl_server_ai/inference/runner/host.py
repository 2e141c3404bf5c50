"""A place for runners apart from the workers: a container that has nothing they would want.

    python -m fl_server_ai.inference.runner.host SOCKET

Whoever connects to the socket of that name gets a fork server of its own, with torch imported
already. A job's files come over the socket, open; this side needs no access to them.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from billiard.util import set_pdeathsig  # type: ignore[attr-defined]  # not in its stubs

from fl_server_ai.inference.runner.launcher import NEEDED, try_cage
from fl_server_core.log_lines import JSONLine, name_process

logger = logging.getLogger(__name__)


def serve(path: Path) -> None:
    """Take workers in until a signal."""
    logger.info("the runners' cage: %s", try_cage("auto"))
    os.environ.update(NEEDED)
    from fl_server_ai.inference.runner import fork_server  # torch, now that this is set

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    path.unlink(missing_ok=True)
    os.chdir("/")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        while True:
            worker, _ = listener.accept()
            _fork(listener, worker, fork_server.take_orders)
            _forget_the_dead()


def _fork(
    listener: socket.socket,
    worker: socket.socket,
    take_orders: Callable[[socket.socket], None],
) -> None:
    with worker:
        if os.fork():
            return
        try:
            listener.close()
            set_pdeathsig(signal.SIGKILL)
            take_orders(worker)
        finally:
            os._exit(0)


def _forget_the_dead() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    name_process("runners")
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(JSONLine())
    logging.basicConfig(level="INFO", handlers=[to_stderr])
    serve(Path(sys.argv[1]))
