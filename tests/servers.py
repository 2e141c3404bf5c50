"""Servers of our own to test with: PostgreSQL, Redis, nginx, S3.

Each runs on a free port of 127.0.0.1 and keeps its data in a folder that goes with it. Each can
be killed and started again, and dies with the process that started it.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg
import pytest
import redis
import requests

from fl_server.processes import die_with_parent
from tests.waiting import PATIENCE, wait_until

PASSWORD = "a password of tests"
TEMPLATE = Path(__file__).parents[1] / "deploy" / "nginx" / "server.conf.template"


def find_binary(name: str) -> str | None:
    """Return the path of a program, also where Debian hides it."""
    folders = [os.environ["PATH"], "/usr/sbin", *Path("/usr/lib/postgresql").glob("*/bin")]
    folders.append(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join(map(str, folders)))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A program that listens; `with` starts and ends it."""

    program = ""
    crash = signal.SIGKILL

    def __init__(self) -> None:
        if find_binary(self.program) is None:
            pytest.skip(f"{self.program} is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix=f"fl-{self.program}-"))
        self.port = free_port()
        self.user: str | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    def ask(self) -> None:
        """Raise OSError or the client's own error while it doesn't answer."""
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()

    def start(self) -> None:
        """Start it, and return once it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [find_binary(self.program), *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.user,
                preexec_fn=die_with_parent,
            )
        wait_until(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, (self.folder / "log").read_text()

    def kill(self) -> None:
        """End it without notice, if it runs."""
        if self.process is not None:
            self.process.send_signal(self.crash)
            self.process.wait()

    def _answers(self) -> bool:
        with suppress(OSError, psycopg.Error, redis.RedisError):
            self.ask()
            return True
        return False


class Postgres(Server):
    """PostgreSQL; what it has committed survives its death, but not the machine's."""

    program = "postgres"
    crash = signal.SIGQUIT  # SIGKILL would leave its children, and their memory in the way

    def __init__(self) -> None:
        super().__init__()
        if os.geteuid() == 0:  # it refuses to run as root
            self.user = "nobody"
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        (self.folder / "password").write_text(PASSWORD)
        os.chmod(self.folder / "password", 0o644)
        options = "-D data -U fl -A scram-sha-256 --pwfile password -E UTF8 --no-locale -N"
        subprocess.run(
            [find_binary("initdb"), *options.split()],
            cwd=self.folder,
            user=self.user,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def command(self) -> list[str]:
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        settings |= {
            "fsync": "off",
            "full_page_writes": "off",
            "port": str(self.port),
            "max_connections": "300",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return ["-D", str(self.folder / "data"), *options]

    def ask(self) -> None:
        self.connect().close()

    def database(self, name: str) -> dict[str, str]:
        """Make a database of this name; return the settings that lead there.

        Receivers of notifications are at the loopback address in tests.
        """
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        connection.close()
        return {
            "FL_NOTIFY_ALLOW": "127.0.0.0/8",
            "FL_POSTGRES_HOST": "127.0.0.1",
            "FL_POSTGRES_PORT": str(self.port),
            "FL_POSTGRES_DBNAME": name,
            "FL_POSTGRES_USER": "fl",
            "FL_POSTGRES_PASSWD_FILE": str(self.folder / "password"),
        }

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect to one of its databases; each statement is a transaction."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user="fl",
            password=PASSWORD,
            autocommit=True,
            connect_timeout=PATIENCE,
        )


class Redis(Server):
    """Redis, as in the compose file: it keeps nothing."""

    program = "redis-server"

    def command(self) -> list[str]:
        return ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]

    def ask(self) -> None:
        with redis.Redis(port=self.port, socket_connect_timeout=1) as client:
            client.ping()


class Nginx(Server):
    """nginx with the configuration that is deployed, filled in as its image does it."""

    program = "nginx"

    def __init__(
        self, variables: dict[str, str], *, tls: str = "", template: str = TEMPLATE.read_text()
    ) -> None:
        """`tls` is the content of deploy/nginx/tls.conf, its paths those of this machine."""
        super().__init__()
        variables = {"NGINX_LOCAL_RESOLVERS": "127.0.0.1"} | variables
        variables["FL_PROXY_LISTEN"] = f"127.0.0.1:{self.port}"
        (self.folder / "server.conf").write_text(fill_in(template, variables))
        if tls:
            (self.folder / "tls").mkdir()
            (self.folder / "tls" / "tls.conf").write_text(tls)
        (self.folder / "nginx.conf").write_text(self._main())

    def command(self) -> list[str]:
        return ["-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]

    def test(self) -> str:
        """Return what `nginx -t` says."""
        command = [find_binary(self.program), *self.command(), "-t", "-q"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    def _main(self) -> str:
        paths = "".join(
            f"{name}_temp_path {self.folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            # One process: a killed master would leave its workers.
            f"daemon off;\nmaster_process off;\npid {self.folder}/pid;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{paths}include server.conf;\n}}\n"
        )


class S3(Server):
    """What answers like Amazon's S3, with one bucket."""

    program = "moto_server"

    def command(self) -> list[str]:
        return ["-H", "127.0.0.1", "-p", str(self.port)]

    def bucket(self, name: str) -> dict[str, str]:
        """Make a bucket of this name; return the settings that lead there."""
        url = f"http://127.0.0.1:{self.port}"
        requests.put(f"{url}/{name}", timeout=PATIENCE).raise_for_status()
        return {
            "FL_S3_BUCKET": name,
            "FL_S3_ENDPOINT_URL": url,
            "FL_S3_REGION": "us-east-1",
            "FL_S3_ACCESS_KEY": "key",
            "FL_S3_SECRET_KEY": "secret",
        }


def fill_in(template: str, variables: dict[str, str]) -> str:
    """Do what envsubst does in nginx' image."""
    for name, value in variables.items():
        template = template.replace(f"${{{name}}}", value)
    return template
