"""`manage.py doctor`: what is right and what isn't, a line each."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fl_server.diagnosis import examine


class Command(BaseCommand):
    """Changes nothing. It ends with an error where something is to be done."""

    help = "Look at settings, database, broker, storage, disks, device, cage, workers and others."
    requires_system_checks: list[str] = []  # it runs them itself, to say the rest as well

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: D102
        ill = 0
        for found in examine():
            ill += not found.is_well
            style = self.style.SUCCESS if found.is_well else self.style.ERROR
            mark = style("ok  " if found.is_well else "FAIL")
            self.stdout.write(f"{mark} {found.name:9} {found.words}")
        if ill:
            raise CommandError(f"{ill} of these need something done.")
