"""One round of very many participants who ask for what is to be done, beside a bare server."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import mean

from benchmarks.bench import files
from benchmarks.bench.bare import bare_server
from benchmarks.bench.people import METRICS, Line, Site, User, update_form, wait_until
from benchmarks.bench.processes import seconds_used, web_processes
from benchmarks.bench.rows import Row, percentile
from benchmarks.bench.topologies import Stage

LINES = 16
"""Connections over which they ask; each carries many participants, one after the other."""
TINY = 0.01
REQUESTS = 7
"""Of one participant in a round: two that ask, an update, metrics, three that acknowledge."""


def rows(stage: Stage) -> Iterator[Row]:
    """Hold a round on each topology."""
    for label, on_stores in stage.topologies.items():
        with stage.running(on_stores=on_stores) as site:
            crowd = Crowd(site)
            web = web_processes(site.serving.pid)
            before = seconds_used(web)
            seconds = crowd.hold_round(stage.sizes.crowd)
            used = seconds_used(web) - before
        with bare_server(stage.new_folder()) as (bare, _):
            naive = f"{by_hand(bare, stage.sizes.crowd):.0f} s"
        yield Row(
            f"round of {stage.sizes.crowd} polling participants, {label}",
            f"{seconds:.0f} s; {crowd.said()}; web {used:.0f} s CPU",
            naive,
        )


@dataclass
class Crowd:
    """The participants, and how long each kind of request took them."""

    site: Site
    times: dict[str, list[float]] = field(
        default_factory=lambda: {"polls": [], "updates": [], "acks": [], "metrics": []}
    )

    def hold_round(self, count: int) -> float:
        """Return the seconds from the start to the end of a training of one round."""
        line = Line(self.site.url)
        actor, *people = self.site.add_users(1 + count)
        file = files.state_dict(TINY)
        model = line.upload_model(actor, file)
        self.path, self.form = f"/api/models/{model}/", update_form(file, 0)
        training = line.open_training(actor, model, people, 1)
        begun = time.monotonic()
        line.start(actor, training)
        with ThreadPoolExecutor(LINES) as pool:
            for kind, act in (
                ("UPDATE_ROUND_START", self.update),
                ("MODEL_TEST_ROUND", self.report),
            ):
                shares = [people[number::LINES] for number in range(LINES)]
                list(pool.map(lambda mine, k=kind, a=act: self.go_through(mine, k, a), shares))
        line = Line(self.site.url)  # the first one has been closed if all this took long
        path = f"/api/trainings/{training}/"
        wait_until(lambda: line.get(actor, path)["state"] == "C", pause=0.1)
        return time.monotonic() - begun

    def go_through(self, people: list[User], kind: str, act: Callable[[Line, User], None]) -> None:
        """Have each of them, one after the other, wait for a message and do what it asks."""
        line = Line(self.site.url)
        for person in people:
            items: list[dict[str, str]] = []
            while kind not in {item["notification_type"] for item in items}:
                items = self.timed("polls", line.get, person, "/api/notifications/?wait=5")
            act(line, person)
            for item in items:
                self.timed("acks", line.post, person, f"/api/notifications/{item['id']}/ack/")

    def update(self, line: Line, person: User) -> None:
        """Send an update."""
        self.timed("updates", line.post, person, self.path, self.form)

    def report(self, line: Line, person: User) -> None:
        """Send metrics."""
        self.timed("metrics", line.post, person, f"{self.path}metrics/", METRICS)

    def timed(
        self, what: str, act: Callable[..., list[dict[str, str]]], *arguments: object
    ) -> list[dict[str, str]]:
        """Note how long it took."""
        begun = time.monotonic()
        answer = act(*arguments)
        self.times[what].append(time.monotonic() - begun)
        return answer

    def said(self) -> str:
        """Return mean and p95 of each kind of request."""
        return ", ".join(
            f"{what} {1000 * mean(times):.0f} ms (p95 {1000 * percentile(times, 0.95):.0f})"
            for what, times in self.times.items()
        )


def by_hand(bare: str, count: int) -> float:
    """Return the seconds for as many requests to a server that does nothing."""

    def send(mine: range) -> None:
        line = Line(bare)
        for _ in mine:
            line.ask("", "POST", "/", METRICS)

    begun = time.monotonic()
    with ThreadPoolExecutor(LINES) as pool:
        list(pool.map(send, [range(count * REQUESTS // LINES)] * LINES))
    return time.monotonic() - begun
