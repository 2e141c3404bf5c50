"""What a user sees of the demo: the run, its result, and the server if it is kept."""

import secrets
import time
from pathlib import Path

from rich.console import Console

from fl_server.demo.children import Children, DemoError
from fl_server.demo.plot import plot
from fl_server.demo.report import print_result
from fl_server.demo.run import MANAGE, Demo, Plan

PICTURE = Path("demo-result.png")


def show(plan: Plan, children: Children, console: Console, *, keep: bool) -> None:
    """Run the demo; DemoError also when the clients would have done better alone."""
    started = time.monotonic()
    demo = Demo(plan, children, console)
    result = demo.run(keep=keep)
    plot(result, PICTURE)
    print_result(console, result)
    seconds = time.monotonic() - started
    console.print(f"Picture: {PICTURE.absolute()}\nIt took {seconds:.0f} s.", soft_wrap=True)
    if not result.better:
        raise DemoError("The common model is no better than the best that a client has alone.")
    if keep:
        _keep(demo.url, children, console)


def _keep(url: str, children: Children, console: Console) -> None:
    """Stay until Ctrl-C or until the server dies."""
    password = secrets.token_urlsafe(9)
    who = ("--username", "admin", "--email", "admin@localhost")
    create = (MANAGE, "createsuperuser", "--noinput", *who)
    children.run("superuser", *create, DJANGO_SUPERUSER_PASSWORD=password)
    console.print(f"Swagger UI: {url}/api/schema/swagger-ui/")
    console.print(f"Admin: {url}/admin/ (user admin, password {password})")
    console.print("Ctrl-C ends the server and removes its data.")
    try:
        while True:
            children.check()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("Ended.")
