"""The processes that make up a server, and how each is started.

    python -m fl_server.processes NAME [ARGUMENT...]

becomes the process of that name. `manage.py serve` runs all of them on one machine; where
something else supervises (docker compose), it runs this line for each, and settings that can't
be used end it with a sentence.
"""

import os
import runpy
import signal
import sys
from contextlib import suppress
from importlib import import_module

import django
from billiard.util import set_pdeathsig  # type: ignore[attr-defined]  # not in its stubs
from django.core.management import execute_from_command_line

from fl_server_core.log_lines import name_process

SUPERVISOR = "FL_SUPERVISOR_PID"
"""The id of the process with which the started one has to end; unset if there is none."""

CELERY = ("celery", "-A", "fl_server", "--quiet")
WORKER = (*CELERY, "worker", "--without-gossip", "--without-mingle", "--without-heartbeat")

COMMANDS = {
    "web": ("gunicorn", "-c", "python:fl_server.gunicorn", "fl_server.wsgi"),
    # Merging imports torch, once and before the pool's processes are forked.
    "rounds": (
        *WORKER, "-n", "rounds@%h", "-Q", "rounds",
        "-P", "prefork", "-c", "2", "--include", "fl_server_ai.aggregation.merging",
    ),
    # Deliveries have threads of their own.
    "notify": (*WORKER, "-n", "notify@%h", "-Q", "notify", "-P", "threads", "-c", "4"),
    # Most of these threads wait, because each user has only some of them at once.
    "serving": (
        *WORKER, "-n", "serving@%h", "-Q", "serving",
        "-P", "threads", "-c", "16", "--include", "fl_server_ai.inference.start",
    ),
    "summaries": (*WORKER, "-n", "summaries@%h", "-Q", "summaries", "-P", "threads", "-c", "2"),
    "beat": (*CELERY, "beat"),
}  # fmt: skip
"""Module and arguments of `python -m`, by name."""

QUEUES = ("rounds", "notify", "serving", "summaries")
"""Each is consumed by the process of the same name."""

SHARED = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "fl_server.receiving",
    "fl_server.urls",
    "fl_server.wsgi",
    "gunicorn.app.wsgiapp",
)
"""What most of the processes import."""


def preload() -> None:
    """Import what processes forked from this one will need, so that they share its memory."""
    for module in SHARED:
        import_module(module)
    import_module("fl_server.celery").app.loader.import_default_modules()


def become(name: str, *arguments: str) -> None:
    """Be the named process from here on, until it ends."""
    name_process(name)
    sys.argv = list(COMMANDS[name] + arguments)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def main(name: str, *arguments: str) -> None:
    """Become the named process, which dies with the supervisor if there is one."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fl_server.settings")
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor:  # which has checked the settings
        die_with_parent()
        if os.getppid() != int(supervisor):  # it died before
            sys.exit(1)
    else:
        _check_settings()
    _count(name)
    become(name, *arguments)


def _check_settings() -> None:
    execute_from_command_line(["manage.py", "check"])


def _count(name: str) -> None:
    """Have the process count what it does, and a worker tell it too."""
    from django.conf import settings

    if not settings.FL_METRICS_TOKEN:
        return
    django.setup()
    from fl_server import metrics

    metrics.begin_counting()
    if name in QUEUES:  # the web process has its own way
        metrics.tell_beside()


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends, however that ends.

    Linux can; elsewhere a process outlives a parent that is killed hard.
    """
    with suppress(OSError):
        set_pdeathsig(signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
