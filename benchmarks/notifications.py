"""How long healthy receivers wait for their messages while others hang.

    python -m benchmarks.notifications --hanging 40 --healthy 8

Starts a server of its own (`manage.py serve`). One training's receivers take a connection and
never answer; then another training starts. Prints the seconds until each of its receivers has
both of its first messages, and how many hang by then. `--hanging 0` shows what the outbox
delivers per second.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.conftest import running_server
from tests.e2e.crowd import hanging, listening
from tests.e2e.people import Person
from tests.e2e.tiny import scripted


def measure(server: str, stack: ExitStack, hanging_count: int, healthy_count: int) -> None:
    """Print one line of figures."""
    actor = Person(server)
    model = actor.upload_model(scripted(0.0))
    dead = [stack.enter_context(hanging()) for _ in range(hanging_count)]
    url, mailboxes = stack.enter_context(listening())
    people = [Person(server, endpoint=f"{url}/{number}") for number in range(healthy_count)]
    others = [Person(server, endpoint=receiver.url) for receiver in dead]
    if others:
        actor.start(actor.open_training(model, others, 1))
        time.sleep(1)
    training = actor.open_training(model, people, 1)
    begun = time.monotonic()
    actor.start(training)
    mailboxes.await_all(people, training, ("UPDATE_ROUND_START", 0))
    seconds = time.monotonic() - begun
    held = sum(receiver.held() for receiver in dead)
    rate = 2 * healthy_count / seconds
    print(f"{healthy_count} told after {seconds:.2f} s ({rate:.0f} messages/s), {held} hang")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hanging", type=int, default=40)
    parser.add_argument("--healthy", type=int, default=8)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(running_server(folder))
        measure(url, stack, options.hanging, options.healthy)
