"""What `manage.py serve` has started, killed; its broker's folder, deleted."""

import os
import shutil
import signal
from pathlib import Path

from tests.e2e.conftest import Serve
from tests.faults.registry import Inject, fault
from tests.faults.training import Running


@fault(server="serve")
def embedded_broker_deleted(server: Serve, training: Running) -> None:
    """The folder that is the broker is deleted while everything runs."""
    shutil.rmtree(server.folder / "var" / "broker")
    training.answer()


def _killed(name: str, word: str) -> Inject:
    def inject(server: Serve, training: Running) -> None:
        os.kill(child_of(server, word), signal.SIGKILL)
        training.answer()

    inject.__name__ = f"embedded_{name}_killed"
    inject.__doc__ = f"The {name} process of `manage.py serve` is killed."
    return inject


def child_of(server: Serve, word: str) -> int:
    """Return the id of the process that serve has started and that has this in its name."""
    children = [p for p in Path("/proc").glob("[0-9]*") if _parent(p) == server.process.pid]
    return next(int(c.name) for c in children if word in _title(c))


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _title(process: Path) -> str:
    return (process / "cmdline").read_text()


for child, argument in {
    "web": "gunicorn",
    "rounds": "rounds@",
    "notify": "notify@",
    "beat": "beat",
}.items():
    fault(server="serve")(_killed(child, argument))
