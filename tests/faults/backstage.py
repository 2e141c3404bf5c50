"""The production topology seen from behind: its rows, its disk, its processes' ids."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from tests.e2e.production import DATABASE, Production
from tests.faults.training import Running
from tests.waiting import wait_until

DISK = Path(__file__).parent / "disk"


@dataclass
class Backstage:
    """What a fault needs of the server; `faults` is the folder that its disk obeys."""

    production: Production
    faults: Path

    @property
    def scratch(self) -> set[str]:
        """The names of files that are being written."""
        return {path.name for path in (self.production.folder / "data/models/scratch").iterdir()}

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the server's database; return its rows if it has any."""
        with self.production.postgres.connect(DATABASE) as connection:
            cursor = connection.execute(sql, values)
            rows = cursor.fetchall() if cursor.description else []
        connection.close()
        return rows

    def is_claimed(self, training: Running) -> bool:
        """Whether a worker is at the merge."""
        sql = "SELECT claim IS NOT NULL FROM fl_server_core_training WHERE id = %s"
        return bool(self.query(sql, training.id)[0][0])

    def expire_deadline(self, training: Running) -> None:
        """Let the training's deadline be over; it would be checked then at the latest."""
        self._expire(training, "deadline", "check_at")

    def expire_lease(self, training: Running) -> None:
        """Let the lease of the claim on the training's merge be over, if there is one."""
        self._expire(training, "claimed_until")

    def _expire(self, training: Running, *columns: str) -> None:
        past = ", ".join(f"{column} = now() - interval '1 second'" for column in columns)
        self.query(
            f"UPDATE fl_server_core_training SET {past} WHERE id = %s AND {columns[0]} IS NOT NULL",
            training.id,
        )

    def attempt(self, training: Running) -> int:
        """Return how often a round of the training was begun anew."""
        sql = "SELECT attempt FROM fl_server_core_training WHERE id = %s"
        return int(self.query(sql, training.id)[0][0])

    def has_failed_to_deliver(self, training: Running) -> bool:
        """Whether a message has failed to reach its receiver, and is to be posted again."""
        return self._has_message(training, "error <> '' AND failed_at IS NULL")

    def has_given_up(self, training: Running) -> bool:
        """Whether a message isn't posted any more, in vain."""
        return self._has_message(training, "failed_at IS NOT NULL")

    def _has_message(self, training: Running, condition: str) -> bool:
        sql = f"SELECT 1 FROM fl_server_core_notification WHERE training_id = %s AND {condition}"
        return bool(self.query(sql, training.id))

    def hasten(self, training: Running) -> None:
        """Let the pauses before the training's next deliveries be over."""
        self.query(
            "UPDATE fl_server_core_notification SET next_attempt_at = now() "
            "WHERE training_id = %s AND next_attempt_at IS NOT NULL",
            training.id,
        )

    def queued(self, queue: str) -> int:
        """Return how many tasks the broker holds for a queue."""
        with Redis(port=self.production.redis.port) as client:
            return int(client.llen(queue))

    def flush_broker(self) -> None:
        """Let the broker lose all that it holds."""
        with Redis(port=self.production.redis.port) as client:
            client.flushall()

    @contextmanager
    def full_disk(self, kind: str) -> Iterator[None]:
        """Leave no room to the processes of this kind."""
        marker = self.faults / f"full-{kind}"
        marker.touch()
        try:
            yield
        finally:
            marker.unlink()

    def hold_next_write(self, kind: str) -> None:
        """Have the next process of this kind that writes a file stand still."""
        (self.faults / f"hold-{kind}").touch()

    def held(self) -> int:
        """Wait until a process stands still; return its id."""
        found = wait_until(lambda: list(self.faults.glob("held-*")))
        return int(found[0].name.removeprefix("held-"))

    def release(self, pid: int) -> None:
        """Let it go on."""
        (self.faults / f"held-{pid}").unlink()

    def name_of(self, pid: int) -> str:
        """Return the name of the process that this one is, or that has started it."""
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        processes = self.production.processes.items()
        return next(name for name, process in processes if process.pid in (pid, parent))
