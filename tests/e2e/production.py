"""The processes of docker-compose.yml without docker: theirs are the commands and settings."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import requests

from fl_server.processes import QUEUES, SUPERVISOR, die_with_parent
from tests.compose import ROOT, read_compose
from tests.servers import Nginx, Postgres, Redis, free_port
from tests.waiting import PATIENCE, wait_until

DATABASE = "production"
MAX_UPLOAD_BYTES = 20_000_000


@dataclass
class Production:
    """What runs, and how to reach it; `settings` are those of every process of ours."""

    url: str
    folder: Path
    settings: dict[str, str]
    compose: dict
    commands: dict[str, list[str]]
    processes: dict[str, subprocess.Popen[bytes]]
    postgres: Postgres
    redis: Redis
    nginx: Nginx

    def is_ready(self) -> bool:
        """Ask; what has died is started again first."""
        self.revive()
        try:
            return requests.get(f"{self.url}/health/ready/", timeout=10).ok
        except requests.Timeout:  # a machine that starts all of this has much to do
            return False

    def revive(self) -> list[str]:
        """Start again what has died, as `restart: unless-stopped` does; return the names."""
        dead = [name for name, process in self.processes.items() if process.poll() is not None]
        for name in dead:
            self.start(name)
        return dead

    def kill(self, *names: str) -> None:
        """End processes of ours without notice; what they have started dies with them."""
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes[name].wait()

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("a") as file:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *self.commands[name]],
                cwd=ROOT,
                env=self.settings,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=die_with_parent,
            )

    def end(self) -> None:
        """Ask each process to end, and kill those that don't."""
        for process in self.processes.values():
            process.terminate()
        try:
            for process in self.processes.values():
                process.wait(timeout=PATIENCE)
        finally:
            for process in self.processes.values():
                process.kill()
                process.wait()

    def log(self) -> str:
        logs = [self.nginx.folder / "log", *self.folder.glob("*.log")]
        return "".join(f"{path}:\n{path.read_text()[-3000:]}\n" for path in logs)


@contextmanager
def running_production(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({}), **environment: str
) -> Iterator[Production]:
    """Start it all: nginx, two web processes, two workers on each queue, beat, the runners' host.

    `environment` is docker compose's, `settings` are the processes' beyond what it hands on.
    """
    compose = read_compose(
        FL_MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES), FL_PASSWORD_RULES="false", **environment
    )
    with ExitStack() as stack:
        postgres, redis = stack.enter_context(Postgres()), stack.enter_context(Redis())
        settings = os.environ | compose["services"]["web"]["environment"] | settings
        settings |= postgres.database(DATABASE) | _settings(folder, redis)
        manage(settings, *compose["services"]["migrate"]["command"])
        manage(settings, "collectstatic", "--noinput")
        web = f"127.0.0.1:{free_port()}"
        proxy = compose["services"]["proxy"]["environment"] | {
            "FL_PROXY_WEB": web,
            "FL_PROXY_MODELS": f"{folder}/data/models/",
            "FL_PROXY_STATIC": f"{folder}/static/",
        }
        nginx = stack.enter_context(Nginx(proxy))
        url = f"http://127.0.0.1:{nginx.port}"
        commands = _commands(web, settings["FL_RUNNERS_SOCKET"])
        running = Production(url, folder, settings, compose, commands, {}, postgres, redis, nginx)
        stack.callback(running.end)
        for name in commands:
            running.start(name)
        try:
            wait_until(running.is_ready)
        except AssertionError as error:
            raise AssertionError(running.log()) from error
        yield running


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
        "FL_MODEL_CODE": "any",  # people of tests need no permission
        "FL_REDIS_HOST": "127.0.0.1",
        "FL_REDIS_PORT": str(redis.port),
        "FL_RUNNERS_SOCKET": str(folder / "runners"),
        SUPERVISOR: str(os.getpid()),
    }


def _commands(web: str, runners: str) -> dict[str, list[str]]:
    """Return what each process is as `python -m`."""
    ours = "fl_server.processes"
    commands = {
        "runners": ["fl_server_ai.inference.runner.host", runners],
        "web": [ours, "web", "--bind", web],
        "beat": [ours, "beat"],
    }
    for queue in QUEUES:
        commands[queue] = [ours, queue]
        commands[f"{queue}-2"] = [ours, queue, "-n", f"{queue}-2@%h"]
    return commands
