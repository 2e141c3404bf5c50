"""`manage.py demo`: a few clients train one model, live in the terminal."""

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from fl_server.demo.children import Children, DemoError
from fl_server.demo.run import Plan
from fl_server_ai.aggregation.strategies import STRATEGIES

EXTRA = ("matplotlib", "sklearn")


class Command(BaseCommand):
    """Ends with status 0 only if the model that all trained beats every client's own."""

    help = (
        "Start a server and clients that hold different handwritten digits, let them train "
        "one model over HTTP, and compare it with what each client gets alone."
    )
    requires_system_checks = ()  # those of the caller's settings; the demo's server has its own

    def add_arguments(self, parser: CommandParser) -> None:  # noqa: D102
        parser.add_argument("--clients", type=int, default=5, help="2 to 20; default: %(default)s")
        parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
        methods = [name for name in STRATEGIES if name != "NormBoundedFedAvg"]  # wants a bound
        parser.add_argument("--method", choices=methods, default="FedAvg")
        parser.add_argument("--seed", type=int, default=0, help="of split and weights")
        parser.add_argument(
            "--keep", action="store_true", help="leave the server running afterwards, with an admin"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run it; nothing that it started is left, however it ends."""
        plan = Plan(**{key: options[key] for key in ("clients", "rounds", "method", "seed")})
        if not (2 <= plan.clients <= 20 and plan.rounds >= 1 and plan.seed >= 0):
            raise CommandError("It takes 2 to 20 clients, a round or more, a seed of 0 or more.")
        if not all(find_spec(name) for name in EXTRA):
            raise CommandError("The demo needs its packages: pip install -e '.[demo]'")
        from fl_server.demo.show import show  # needs those packages

        folder = Path(tempfile.mkdtemp(prefix="fl-demo-"))
        try:
            with Children(folder) as children:
                show(plan, children, Console(), keep=options["keep"])
        except (DemoError, OSError) as error:
            raise CommandError(f"{error}\nThe logs are in {folder}.") from error
        except KeyboardInterrupt as error:
            shutil.rmtree(folder)
            raise CommandError("Interrupted.", returncode=130) from error
        shutil.rmtree(folder)
