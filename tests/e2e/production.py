"""The processes of docker-compose.yml without docker: theirs are the commands and settings."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from fl_server.processes import QUEUES, SUPERVISOR
from tests.compose import ROOT, read_compose
from tests.e2e.people import wait_until
from tests.servers import Nginx, Postgres, Redis, free_port

MAX_UPLOAD_BYTES = 20_000_000


@dataclass
class Production:
    """What runs, and how to reach it; `settings` are those of every process of ours."""

    url: str
    folder: Path
    settings: dict[str, str]
    compose: dict
    processes: dict[str, subprocess.Popen[bytes]]
    postgres: Postgres
    redis: Redis
    nginx: Nginx

    def log(self) -> str:
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


@contextmanager
def running_production(folder: Path, **environment: str) -> Iterator[Production]:
    """Start it all: nginx, two web processes, two workers on each queue, beat."""
    compose = read_compose(
        FL_MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES), FL_PASSWORD_RULES="false", **environment
    )
    with ExitStack() as stack:
        postgres, redis = stack.enter_context(Postgres()), stack.enter_context(Redis())
        settings = os.environ | compose["services"]["web"]["environment"]
        settings |= postgres.database("production") | _settings(folder, redis)
        manage(settings, *compose["services"]["migrate"]["command"])
        manage(settings, "collectstatic", "--noinput")
        web = f"127.0.0.1:{free_port()}"
        processes = stack.enter_context(_started(folder, settings, _commands(web)))
        proxy = compose["services"]["proxy"]["environment"] | {
            "FL_PROXY_WEB": web,
            "FL_PROXY_MODELS": f"{folder}/data/models/",
            "FL_PROXY_STATIC": f"{folder}/static/",
        }
        nginx = stack.enter_context(Nginx(proxy))
        url = f"http://127.0.0.1:{nginx.port}"
        running = Production(url, folder, settings, compose, processes, postgres, redis, nginx)
        wait_until(lambda: is_ready(running))
        yield running


def is_ready(running: Production) -> bool:
    return requests.get(f"{running.url}/health/ready/", timeout=10).ok


def manage(settings: dict[str, str], *command: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=settings,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _settings(folder: Path, redis: Redis) -> dict[str, str]:
    (folder / "secret_key").write_text(secrets.token_urlsafe(50))
    return {
        "FL_DATA_DIR": str(folder / "data"),
        "FL_STATIC_DIR": str(folder / "static"),
        "FL_DJANGO_SECRET_KEY_FILE": str(folder / "secret_key"),
        "FL_REDIS_HOST": "127.0.0.1",
        "FL_REDIS_PORT": str(redis.port),
        SUPERVISOR: str(os.getpid()),
    }


def _commands(web: str) -> dict[str, list[str]]:
    commands = {"web": ["web", "--bind", web], "beat": ["beat"]}
    for queue in QUEUES:
        commands[queue] = [queue]
        commands[f"{queue}-2"] = [queue, "-n", f"{queue}-2@%h"]
    return commands


@contextmanager
def _started(
    folder: Path, settings: dict[str, str], commands: dict[str, list[str]]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run the processes of these names and arguments; in the end each must end in peace."""
    processes = {}
    try:
        for name, command in commands.items():
            processes[name] = start_process(folder / f"{name}.log", settings, command)
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        try:
            for process in processes.values():
                process.wait(timeout=30)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


def start_process(log: Path, settings: dict[str, str], command: list[str]) -> subprocess.Popen:
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "fl_server.processes", *command],
            cwd=ROOT,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
