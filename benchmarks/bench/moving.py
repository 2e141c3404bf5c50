"""Uploads and downloads, beside a server that only takes or sends bytes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.bench import files
from benchmarks.bench.bare import bare_server
from benchmarks.bench.merging import bandwidth
from benchmarks.bench.people import (
    Body,
    Line,
    Site,
    User,
    basic,
    update_form,
    wait_until,
)
from benchmarks.bench.processes import seconds_used, web_processes
from benchmarks.bench.rows import Row, Sizes, percentile
from benchmarks.bench.topologies import Stage

AT_ONCE = 8
BUFFER = 1 << 20


def rows(stage: Stage) -> Iterator[Row]:
    """Uploads, then downloads, which may come from nginx."""
    sizes, folder = stage.sizes, stage.new_folder()
    (folder / "model").write_bytes(files.state_dict(sizes.download))
    with bare_server(folder) as bare:
        copied = bandwidth()
        with stage.running() as site:
            yield from uploads(sizes, site, *bare)
            yield from downloads(sizes, site, site.url, "embedded", bare[0], copied)
        if stage.has_nginx:
            with stage.behind_nginx() as (site, url):
                yield from downloads(sizes, site, url, "nginx", bare[0], copied)


# Uploads.


def uploads(sizes: Sizes, site: Site, bare_url: str, bare_pid: int) -> Iterator[Row]:
    """Send updates one after the other, and several at once."""
    work = f"update of {sizes.update:g} MB"
    body = update_form(files.state_dict(sizes.update), 0)
    line = Line(site.url)
    form = Body.of_json({"username": f"basic-{time.time_ns()}", "password": "secret"})
    made = line.post(User("", ""), "/api/users/", form)
    named = User(made["id"], made["token"])
    people = [named, *site.add_users(sizes.uploads)]
    path = f"/api/models/{running_training(site, sizes.update, people)}/"
    web = web_processes(site.serving.pid)
    bare_line = Line(bare_url)
    bare_cpu = cpu_of(lambda: bare_line.ask("", "POST", "/", body), [bare_pid], sizes.repeats)
    for label, who in (("token", named.header), ("HTTP Basic", basic(made["username"], "secret"))):
        cpu = cpu_of(lambda who=who: line.ask(who, "POST", path, body), web, sizes.repeats)
        yield Row(
            f"web CPU per {work}, {label}", f"{1000 * cpu:.0f} ms", f"{1000 * bare_cpu:.0f} ms"
        )
    bare = at_once(bare_url, [""] * sizes.uploads, "/", body)
    # The first participant has answered, the last never does: the round stays open.
    real = at_once(site.url, [one.header for one in people[1:]], path, body)
    yield Row(f"{AT_ONCE} updates of {sizes.update:g} MB at once", real, bare)


def running_training(site: Site, megabytes: float, people: list[User]) -> str:
    """Begin a training that waits for these and one more; return its model's id."""
    line = Line(site.url)
    actor, silent = site.add_users(2)
    model = line.upload_model(actor, files.state_dict(megabytes, seed=1))
    training = line.open_training(actor, model, [*people, silent], 1)
    line.start(actor, training)
    wait_until(lambda: line.get(actor, f"/api/trainings/{training}/")["round"]["awaited"])
    return model


def cpu_of(act: Callable[[], object], pids: list[int], times: int) -> float:
    """Return the processor's seconds that processes take for it, on average; the first is apart."""
    act()
    before = seconds_used(pids)
    for _ in range(times):
        act()
    return (seconds_used(pids) - before) / times


def at_once(url: str, people: list[str], path: str, body: Body) -> str:
    """Have everybody send it, several at a time; return how many came a second, and p95."""
    lines = [Line(url) for _ in range(AT_ONCE)]
    times = []

    def send(line: Line, mine: list[str]) -> None:
        for who in mine:
            begun = time.monotonic()
            line.ask(who, "POST", path, body)
            times.append(time.monotonic() - begun)

    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, lines, (people[number::AT_ONCE] for number in range(AT_ONCE))))
    rate = len(people) / (time.monotonic() - begun)
    return f"{rate:.0f} /s, p95 {1000 * percentile(times, 0.95):.0f} ms"


# Downloads.


def downloads(
    sizes: Sizes, site: Site, url: str, label: str, bare: str, copied: float
) -> Iterator[Row]:
    """Fetch a model, one at a time and several at once."""
    [actor] = site.add_users(1)
    model = Line(site.url).upload_model(actor, files.state_dict(sizes.download))
    path = f"/api/models/{model}/"
    for many, work in ((1, ""), (AT_ONCE, f", {AT_ONCE} at once")):
        real, naive = fetch(url, actor, path, many), fetch(bare, actor, "/model", many)
        yield Row(
            f"download of {sizes.download:g} MB, {label}{work}",
            f"{real / 1e6:.0f} MB/s",
            f"{naive / 1e6:.0f} MB/s",
            real / copied,
        )


def fetch(url: str, who: User, path: str, many: int) -> float:
    """Return how many bytes came a second, in the median of some times."""

    def one(line: Line) -> int:
        return line.download(who, path, bytearray(BUFFER))

    rates, lines = [], [Line(url) for _ in range(many)]
    with ThreadPoolExecutor(many) as pool:
        for _ in range(5):
            begun = time.monotonic()
            total = sum(pool.map(one, lines))
            rates.append(total / (time.monotonic() - begun))
    return median(rates)
