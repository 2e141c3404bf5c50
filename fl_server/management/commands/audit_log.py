"""`manage.py audit_log`: writes the audit log, to be filed elsewhere."""

import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from fl_server_core.models import Act


class Command(BaseCommand):
    """One line of JSON for each act, oldest first, as FL_AUDIT_LOG has them."""

    help = "Write the audit log to stdout, as lines of JSON."

    def add_arguments(self, parser: CommandParser) -> None:  # noqa: D102
        parser.add_argument(
            "--since", type=_time, help="a day or a time, such as 2026-01-31 or 2026-01-31T12:00Z"
        )

    def handle(self, *_args: Any, since: datetime | None, **_options: Any) -> None:  # noqa: D102
        acts = Act.objects.filter(created_at__gte=since) if since else Act.objects.all()
        for act in acts.iterator():
            self.stdout.write(json.dumps(act.told))


def _time(text: str) -> datetime:
    """Return what is meant; UTC where no other zone is told."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
