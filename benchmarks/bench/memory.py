"""What the embedded server's processes take, beside a Python that has imported torch."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.bench import files
from benchmarks.bench.moving import AT_ONCE, BUFFER, at_once, running_training
from benchmarks.bench.people import Line, update_form
from benchmarks.bench.processes import family_of, memory_of, web_processes
from benchmarks.bench.rows import Row
from benchmarks.bench.topologies import Stage

TORCH = "import sys, torch; print(flush=True); sys.stdin.read()"


def rows(stage: Stage) -> Iterator[Row]:
    """Memory at rest, and after uploads and downloads."""
    sizes = stage.sizes
    with stage.running() as site:
        time.sleep(sizes.settle_seconds)
        torch = of_torch()
        pids = family_of(site.serving.pid)
        total = memory_of(pids)
        web = web_processes(site.serving.pid)[1:]
        idle = max(resident(pid) for pid in web)
        people = site.add_users(sizes.uploads)
        body = update_form(files.state_dict(sizes.update), 0)
        model = running_training(site, sizes.update, people)
        at_once(site.url, [one.header for one in people], f"/api/models/{model}/", body)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lines = [Line(site.url) for _ in range(AT_ONCE)]
            path = f"/api/models/{model}/"
            list(pool.map(lambda line: line.download(people[0], path, bytearray(BUFFER)), lines))
        load = max(resident(pid) for pid in web)
        yield Row("a web process's resident memory, idle, after load", f"{mb(idle)}, {mb(load)}")
        yield Row(
            f"embedded server idle, all {len(pids)} processes, PSS",
            mb(total.all),
            f"Python with torch: {mb(torch)}",
        )


def resident(pid: int) -> int:
    """Return a process's resident set size in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def of_torch() -> int:
    """Return the memory of a process that has imported torch, and nothing else."""
    command = [sys.executable, "-c", TORCH]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        return memory_of([process.pid]).all


def mb(size: int) -> str:
    """Return bytes as megabytes."""
    return f"{size / 1e6:.0f} MB"
