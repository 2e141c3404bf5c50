"""`manage.py invite`: makes an invitation and shows its code, once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from fl_server_core.models import Invitation
from fl_server_core.models.invitation import VALID_DAYS


class Command(BaseCommand):
    """The code goes to whoever is to register, who sends it as `invitation`."""

    help = "Make an invitation, good for one registration."

    def add_arguments(self, parser: CommandParser) -> None:  # noqa: D102
        parser.add_argument("--note", default="", help="for whom it is")
        parser.add_argument("--days", type=int, default=VALID_DAYS, choices=range(1, 366))

    def handle(self, *_args: Any, note: str, days: int, **_options: Any) -> None:  # noqa: D102
        self.stdout.write(Invitation(note=note[:255]).issue(days=days))
