"""Six clients with gigabytes each, beside reading and writing as many bytes.

Takes room for nine times the model on the disk.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

import numpy as np

from benchmarks.bench.files import safetensors_header
from benchmarks.bench.people import Line, wait_until
from benchmarks.bench.processes import peak_memory
from benchmarks.bench.rows import Row
from benchmarks.bench.topologies import Stage

CLIENTS = 6
BLOCK = 64 << 20


def rows(stage: Stage) -> Iterator[Row]:
    """Hold one round."""
    size = stage.sizes.large
    file = stage.new_folder() / "update.safetensors"
    write_update(file, size)
    with ExitStack() as stack:
        site = stack.enter_context(stage.running())
        peak = stack.enter_context(peak_memory(site.serving.pid))
        line = Line(site.url)
        actor, *people = site.add_users(1 + CLIENTS)
        model = line.upload_file(actor, "/api/models/", file, name="m", description="d")["model_id"]
        opened = line.open_training(actor, model, people, 1)
        line.start(actor, opened)
        training, path = f"/api/trainings/{opened}/", f"/api/models/{model}/"
        wait_until(lambda: line.get(actor, training)["round"]["awaited"])
        begun = time.monotonic()
        for person in people[:-1]:
            line.upload_file(person, path, file, round=0, sample_size=1)
        # The model and these updates are as many files as are merged; soon they will be removed.
        folder = site.serving.data / "models"
        paths = sorted(folder.iterdir(), key=lambda one: one.stat().st_size)[-CLIENTS:]
        stored = [stack.enter_context(one.open("rb", buffering=0)) for one in paths]
        line.upload_file(people[-1], path, file, round=0, sample_size=1)
        accepted = time.monotonic()
        wait_until(lambda: line.get(actor, training)["round"]["phase"] == "test")
        merged = time.monotonic()
        bare = read_and_write(stored, stage.new_folder() / "written")
    yield Row(
        f"merge {CLIENTS} x {size:g} MB through the server",
        f"{merged - accepted:.1f} s; all processes at most {peak.anonymous / 1e6:.0f} MB, "
        f"{peak.all / 1e6:.0f} MB with mapped files",
        f"reading and writing these bytes: {bare:.1f} s",
    )
    rate = CLIENTS * size / (accepted - begun)
    yield Row(f"updates of {size:g} MB, one after the other", f"{rate:.0f} MB/s")


def write_update(path: Path, megabytes: float) -> None:
    """Write random numbers as safetensors."""
    header, left = safetensors_header(megabytes)
    dice = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(header)
        while left:
            block = dice.standard_normal(min(left, BLOCK) // 4, np.float32)
            file.write(block)
            left -= block.nbytes


def read_and_write(files: list[FileIO], target: Path) -> float:
    """Return the seconds for reading files once and writing as much as the last one holds."""
    buffer = bytearray(BLOCK)
    begun = time.monotonic()
    with target.open("wb") as written:
        for file in files:
            while count := file.readinto(buffer):
                if file is files[-1]:
                    written.write(memoryview(buffer)[:count])
        os.fsync(written.fileno())
    return time.monotonic() - begun
