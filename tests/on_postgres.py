"""Runs pytest with a PostgreSQL of its own: `python -m tests.on_postgres [ARGUMENT...]`.

Tests that may not speak to the database are left out: which one it is makes no difference to them.
"""

import os
import secrets
import subprocess
import sys

import pytest

from tests.servers import Postgres, find_binary

DATABASE = {"db", "transactional_db", "live_server"}
"""The fixtures that pytest-django gives the database to, as to what is marked `django_db`."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what pytest-django keeps from the database."""
    left_out = [item for item in items if not speaks_to_database(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if speaks_to_database(item)]


def speaks_to_database(item: pytest.Item) -> bool:
    is_marked = item.get_closest_marker("django_db") is not None
    return is_marked or not DATABASE.isdisjoint(item.fixturenames)


def main() -> int:
    if find_binary(Postgres.program) is None:
        sys.stderr.write("PostgreSQL is not installed: the tests ran on SQLite alone.\n")
        return 1 if os.environ.get("FL_TESTS_REQUIRE_ALL") else 0
    with Postgres() as server:
        environment = os.environ | server.database("fl")
        environment |= {"FL_DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
        command = [sys.executable, "-m", "pytest", "-p", "tests.on_postgres", *sys.argv[1:]]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
