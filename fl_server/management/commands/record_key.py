"""`manage.py record_key`: shows what trainings' records are verified with."""

from typing import Any

from django.core.management.base import BaseCommand

from fl_server_core.signing import public_key


class Command(BaseCommand):
    """The key is public: whoever files records gets it from the operator, once."""

    help = "Show the public key of the signatures on trainings' records."

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: D102
        self.stdout.write(public_key())
