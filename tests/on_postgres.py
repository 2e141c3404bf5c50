"""Runs pytest with a PostgreSQL of its own: `python -m tests.on_postgres [ARGUMENT...]`."""

import os
import secrets
import subprocess
import sys

from tests.servers import Postgres, find_binary


def main() -> int:
    if find_binary(Postgres.program) is None:
        sys.stderr.write("PostgreSQL is not installed: the tests ran on SQLite alone.\n")
        return 1 if os.environ.get("FL_TESTS_REQUIRE_ALL") else 0
    with Postgres() as server:
        environment = os.environ | server.database("fl")
        environment |= {"FL_DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
        command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
