"""Lists of models and of trainings, beside a server that sends the same bytes from a file."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bench import files
from benchmarks.bench.bare import bare_server
from benchmarks.bench.people import Line, Site
from benchmarks.bench.rows import Row, Sizes, milliseconds
from benchmarks.bench.topologies import Stage

TINY = 0.01


def rows(stage: Stage) -> Iterator[Row]:
    """What an actor sees who has many of both."""
    for label, on_stores in stage.topologies.items():
        with stage.running(on_stores=on_stores) as site:
            yield from compare(stage, site, label)


def compare(stage: Stage, site: Site, label: str) -> Iterator[Row]:
    """Fill a server, and ask."""
    sizes, folder, line = stage.sizes, stage.new_folder(), Line(site.url)
    actor, *people = site.add_users(1 + sizes.people)
    models = [line.upload_model(actor, files.state_dict(TINY)) for _ in range(sizes.models)]
    trainings = [line.open_training(actor, model, people, 1) for model in models[: sizes.trainings]]
    line.start(actor, trainings[0])
    with bare_server(folder) as (bare_url, _):
        bare = Line(bare_url)
        for path, what in (
            ("/api/models/", f"GET /models/, {len(models)} models"),
            ("/api/trainings/", f"GET /trainings/, {len(trainings)} trainings"),
            (f"/api/trainings/{trainings[0]}/", "GET /trainings/<id>/"),
        ):
            # Each in a file of its own: the last one may still be read to its end.
            copy = Path(tempfile.mkstemp(dir=folder)[1])
            copy.write_bytes(line.ask(actor.header, "GET", path))
            real = timed(lambda path=path: line.ask(actor.header, "GET", path), sizes)
            naive = timed(lambda copy=copy: bare.ask("", "GET", f"/{copy.name}"), sizes)
            yield Row(f"{what}, {label}", milliseconds(real), milliseconds(naive))


def timed(act: Callable[[], object], sizes: Sizes) -> list[float]:
    """Return how many seconds it takes, several times."""
    act()
    times = []
    for _ in range(sizes.repeats):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return times
