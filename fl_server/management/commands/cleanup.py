"""`manage.py cleanup`: what is old or of no use, a line for each rule."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.template.defaultfilters import filesizeformat

from fl_server_ai.cleanup import RULES, Found


class Command(BaseCommand):
    """A worker does the same each hour; this shows what it would do, and does it if asked to."""

    help = "Show what is to be removed by now, and remove nothing unless --apply is given."

    def add_arguments(self, parser: CommandParser) -> None:  # noqa: D102
        parser.add_argument("--apply", action="store_true", help="remove it")

    def handle(self, *_args: Any, apply: bool, **_options: Any) -> None:  # noqa: D102
        for rule in RULES:
            found = rule.find()
            if apply:
                rule.remove()
            self.stdout.write(f"{found.count:7} {_size(found):>10}  {rule.what}")
        self.stdout.write("Removed." if apply else "Nothing was removed: --apply does that.")


def _size(found: Found) -> str:
    return "" if found.size is None else filesizeformat(found.size).replace("\xa0", " ")
