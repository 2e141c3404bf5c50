"""How soon a round turns: participants who are posted to and answer, beside doing it by hand."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from queue import Queue
from threading import Lock

import requests

from benchmarks.bench import files
from benchmarks.bench.bare import bare_server
from benchmarks.bench.inbox import Message, listening
from benchmarks.bench.merging import loaded, write_files
from benchmarks.bench.people import METRICS, PATIENCE, Body, Line, Site, update_form
from benchmarks.bench.rows import Row, Sizes, milliseconds
from benchmarks.bench.topologies import Stage


def rows(stage: Stage) -> Iterator[Row]:
    """Turn rounds on each topology."""
    sizes = stage.sizes
    file = files.state_dict(sizes.update)
    by_hand = Naive.measure(stage.new_folder(), sizes, update_form(file, 0))
    what = f"{sizes.people} x {sizes.update:g} MB"
    for label, on_stores in stage.topologies.items():
        with stage.running(on_stores=on_stores) as site:
            first, last = latencies(site, sizes.people, file, sizes.rounds)
            yield Row(
                f"last update accepted -> first test notification, {what}, {label}",
                milliseconds(first),
                f"{1000 * by_hand.first:.0f} ms",
            )
            yield Row(
                f"-> last test notification, {label}",
                milliseconds(last),
                f"{1000 * by_hand.last:.0f} ms",
            )
            yield Row(
                f"an update accepted -> test notification fetched by who waits, {label}",
                milliseconds(fetching(site, file, sizes.rounds, sizes.settle_seconds)),
            )
            yield Row(
                f"round, {what}, all answer at once, {label}",
                milliseconds(round_times(site, sizes.people, file, sizes.rounds)),
                f"{1000 * by_hand.whole:.0f} ms",
            )


@dataclass
class Group:
    """Participants of a training and the messages to them."""

    site: Site
    count: int
    messages: "Queue[Message | BaseException]" = field(default_factory=Queue)

    def begin(self, url: str, file: bytes, rounds: int) -> None:
        """Register everybody and start the training."""
        line = Line(self.site.url)
        [actor] = self.site.add_users(1)
        self.people = self.site.add_users(self.count, url)
        model = line.upload_model(actor, file)
        self.path = f"/api/models/{model}/"
        self.lines = [Line(self.site.url) for _ in self.people]
        # The next message may come before the answer to what was sent because of the last one.
        self.locks = [Lock() for _ in self.people]
        line.start(actor, line.open_training(actor, model, self.people, rounds))

    def update(self, number: int, form: Body) -> None:
        """Send an update."""
        self._post(number, self.path, form)

    def report(self, number: int) -> None:
        """Send metrics."""
        self._post(number, f"{self.path}metrics/", METRICS)

    def _post(self, number: int, path: str, body: Body) -> None:
        try:
            with self.locks[number]:
                self.lines[number].ask(self.people[number].header, "POST", path, body)
        except BaseException as error:
            self.messages.put(error)  # for who waits
            raise

    def await_all(self, kind: str, round_number: int) -> list[float]:
        """Return when each participant got this message."""
        times: list[float] = []
        while len(times) < self.count:
            message = self.messages.get(timeout=PATIENCE)
            if isinstance(message, BaseException):
                raise message
            if (message.kind, message.round) == (kind, round_number):
                times.append(message.came)
        return times


def latencies(site: Site, people: int, file: bytes, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds from a round's last update to its first and its last test message."""
    group, first, last = Group(site, people), [], []
    with listening(group.messages.put) as url, ThreadPoolExecutor(people) as pool:
        group.begin(url, file, rounds + 1)
        for number in range(rounds + 1):
            form = update_form(file, number)
            group.await_all("UPDATE_ROUND_START", number)
            for one in range(people):
                group.update(one, form)
            accepted = time.monotonic()
            came = group.await_all("MODEL_TEST_ROUND", number + 1)
            first.append(min(came) - accepted)
            last.append(max(came) - accepted)
            list(pool.map(group.report, range(people)))
        group.await_all("TRAINING_FINISHED", None)
    return first[1:], last[1:]  # the first round is for warming up


def fetching(site: Site, file: bytes, rounds: int, wait: float) -> list[float]:
    """Return the seconds from updates to the call to test of somebody who waits for it by then."""
    group, line, times = Group(site, 1), Line(site.url), []
    group.begin("", file, rounds + 1)
    with ThreadPoolExecutor(1) as pool:
        for number in range(rounds + 1):
            line.await_message(group.people[0], "UPDATE_ROUND_START")
            came = pool.submit(line.await_message, group.people[0], "MODEL_TEST_ROUND")
            time.sleep(wait)
            group.update(0, update_form(file, number))
            accepted = time.monotonic()
            times.append(came.result() - accepted)
            group.report(0)
    return times[1:]  # the first round is for warming up


def round_times(site: Site, people: int, file: bytes, rounds: int) -> list[float]:
    """Return the seconds of rounds whose participants answer as soon as they are asked."""
    group = Group(site, people)
    forms = [update_form(file, number) for number in range(rounds + 2)]
    began: dict[int, float] = {}

    def act(message: Message) -> None:
        if message.kind == "UPDATE_ROUND_START":
            began.setdefault(message.round, message.came)
            pool.submit(group.update, message.number, forms[message.round])
        elif message.kind == "MODEL_TEST_ROUND":
            pool.submit(group.report, message.number)
        else:
            group.messages.put(message)

    with ThreadPoolExecutor(people) as pool, listening(act) as url:
        group.begin(url, file, rounds + 2)
        group.await_all("TRAINING_FINISHED", None)
    times = [began[number] for number in range(1, rounds + 2)]  # the first is for warming up
    return [after - before for before, after in pairwise(times)]


@dataclass(frozen=True)
class Naive:
    """The same by hand, in seconds, as turned by a script: no users, no checks, nothing kept.

    Updates go to a bare server and are averaged from files; receivers are posted to one by one.
    """

    first: float
    last: float
    whole: float

    @classmethod
    def measure(cls, folder: Path, sizes: Sizes, form: Body) -> "Naive":
        """Do it once."""
        write_files(folder, sizes.people, sizes.update)
        message = {"notification_type": "MODEL_TEST_ROUND", "body": {"round": 1}}
        with bare_server(folder) as (bare, _), listening(lambda _: None) as url:
            begun = time.monotonic()
            with ThreadPoolExecutor(sizes.people) as pool:
                send = lambda _: Line(bare).ask("", "POST", "/", form)  # noqa: E731
                list(pool.map(send, range(sizes.people)))
            accepted = time.monotonic()
            loaded(folder, sizes.people)
            came = []
            for number in range(sizes.people):
                requests.post(f"{url}/{number}", json=message, timeout=PATIENCE)
                came.append(time.monotonic())
            for _ in range(sizes.people):
                Line(bare).ask("", "POST", "/", METRICS)
            ended = time.monotonic()
        return cls(came[0] - accepted, came[-1] - accepted, ended - begun)
