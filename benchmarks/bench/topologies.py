"""The servers that are measured: embedded, on PostgreSQL and Redis, behind nginx."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.bench.people import Site, site
from benchmarks.bench.rows import Sizes
from benchmarks.serving import running_server
from tests.servers import Nginx, Postgres, Redis, find_binary

SETTINGS = {
    "FL_QUOTA_MODELS": "0",
    "FL_QUOTA_TRAININGS": "0",
    "FL_QUOTA_RUNNING": "0",
    "FL_LOG_LEVEL": "WARNING",
}
"""Of all servers that are measured: no limits that a single actor would meet."""
ACCEL = "/files/"


@dataclass
class Stage:
    """Where it all happens: a folder, and what is to be measured in it.

    Each family gets fresh servers; with `shared` all get this one, and it is the only kind.
    `picture` is where curves are drawn, if they are.
    """

    folder: Path
    sizes: Sizes
    shared: Site | None = None
    picture: Path | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def new_folder(self) -> Path:
        """Make a folder for whatever is needed."""
        folder = self.folder / f"{next(self._numbers)}"
        folder.mkdir()
        return folder

    @property
    def topologies(self) -> dict[str, bool]:
        """What can be measured, by name, and whether it is on PostgreSQL and Redis."""
        stores = not self.shared and all(map(find_binary, (Postgres.program, Redis.program)))
        return {"embedded": False} | ({"PostgreSQL, Redis": True} if stores else {})

    @property
    def has_nginx(self) -> bool:
        """Whether downloads through nginx can be measured."""
        return not self.shared and find_binary(Nginx.program) is not None

    def running(self, *, on_stores: bool = False, **settings: str) -> AbstractContextManager[Site]:
        """Run a server, with stores of its own if it is on these."""
        if self.shared:
            return nullcontext(self.shared)
        return running(self.new_folder(), on_stores=on_stores, **settings)

    @contextmanager
    def behind_nginx(self) -> Iterator[tuple[Site, str]]:
        """Run a server that leaves downloads to nginx; yield it with nginx' URL."""
        with self.running(FL_ACCEL_PREFIX=ACCEL) as found:
            variables = {
                "FL_PROXY_WEB": found.url.removeprefix("http://"),
                "FL_PROXY_MODELS": f"{found.serving.data}/models/",
                "FL_PROXY_STATIC": f"{self.folder}/",
                "FL_ACCEL_PREFIX": ACCEL,
                "FL_MAX_UPLOAD_BYTES": f"{4 << 30}",
            }
            with Nginx(variables) as nginx:
                yield found, f"http://127.0.0.1:{nginx.port}"


@contextmanager
def running(folder: Path, *, on_stores: bool = False, **settings: str) -> Iterator[Site]:
    """Run a server in a folder, with stores of its own if it is on these."""
    with ExitStack() as stack:
        if on_stores:
            redis = stack.enter_context(Redis())
            settings |= stack.enter_context(Postgres()).database("bench") | {
                "FL_REDIS_HOST": "127.0.0.1",
                "FL_REDIS_PORT": f"{redis.port}",
                "FL_DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
                "FL_PASSWORD_RULES": "false",
                "FL_CAGE": "warn",
            }
        serving = stack.enter_context(running_server(folder, **SETTINGS, **settings))
        yield stack.enter_context(site(serving))
