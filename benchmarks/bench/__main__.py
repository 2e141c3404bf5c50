"""What the server takes for its work, as a table: `make bench`.

    python -m benchmarks.bench [FAMILY ...] [--plot FILE] [--smoke]

Beside each figure stands the same work done in the obvious way, and for what moves bytes, how it
compares with copying them in memory with one thread. Without names all families run but `large`,
which takes 40 GB of disk, and `scaling`, which takes half an hour. Servers are measured from
outside, over HTTP and as Linux counts; PostgreSQL, Redis and nginx are started where they are
installed. docs/performance.md has a table and how to read it.
"""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench.merging import bandwidth
from benchmarks.bench.rows import HEAD, SMOKE, Row, Sizes
from benchmarks.bench.topologies import Stage, running

FAMILIES = ("merging", "turning", "moving", "lists", "memory", "crowd", "large", "scaling")
USUAL = FAMILIES[:-2]


def main() -> None:
    """Print the machine, then rows as they are found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--plot", type=Path, help="the picture that `scaling` draws")
    parser.add_argument("--smoke", action="store_true", help="small, to see that it works")
    args = parser.parse_args()
    if unknown := set(args.families) - set(FAMILIES):
        parser.error(f"no such family: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with nothing left behind
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        os.environ["FL_DATA_DIR"] = f"{folder}/var"
        print(machine(), HEAD, sep="\n\n", flush=True)
        stage, names = Stage(folder, Sizes(), picture=args.plot), USUAL
        if args.smoke:
            shared = stack.enter_context(running(folder / "server"))
            stage, names = Stage(folder, SMOKE, shared, args.plot), FAMILIES
        for row in measure(stage, args.families or names):
            print(row, flush=True)


def measure(stage: Stage, families: Sequence[str] = FAMILIES) -> Iterator[Row]:
    """Yield the rows of these families."""
    for name in families:
        yield from import_module(f"benchmarks.bench.{name}").rows(stage)


def machine() -> str:
    """Return a sentence on the machine, the versions and the date."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "Django"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} x {names[0] if names else 'processor'}, "
        f"{memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}, "
        f"{packages}; copying in memory, one thread: {bandwidth() / 1e9:.1f} GB/s; "
        f"load before: {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
