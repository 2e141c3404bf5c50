"""Fuzzes what model code may call: python -m tests.fuzz --minutes 60

Each case runs in a forked child, its tensors between forbidden pages, twice with other bytes in
fresh memory: a signal, or a result that depends on those bytes, is a fault. One is run again by

    python -m tests.fuzz --case 'aten::embedding_bag' 0.17

The exit status is 1 where something fell. docs/fuzzing.md says what was found.
"""

import argparse
import os
import subprocess
import sys

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# What checks blocks when they are freed doesn't fill aligned ones, as tensors have: one at a time.
MEMORY = {
    "fresh": {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"},
    "freed": {
        "LD_PRELOAD": "libc_malloc_debug.so.0",
        "GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.tcache_count=0",
    },
}


def main() -> None:
    """Half of the time with each way of checking memory; a report after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--rounds", type=int, default=1 << 60, help="cases of each, at most")
    parser.add_argument("--operators", nargs="*", help="torch.…, instead of all that is admitted")
    parser.add_argument("--case", nargs=2, metavar=("NAME", "SEED"))
    parser.add_argument("--memory", choices=MEMORY)
    options = parser.parse_args()
    if options.memory is None:
        sys.exit(max(again(options.minutes / 2, memory) for memory in MEMORY))
    from tests.fuzz import campaign  # imports torch

    if options.case:
        campaign.show(*options.case)
        return
    subjects = campaign.overloads(options.operators) if options.operators else campaign.admitted()
    report = campaign.fuzz(subjects, options.seed, options.minutes * 60, options.rounds)
    print(f"{options.memory} memory is checked: {report}")
    sys.exit(1 if report.faults else 0)


def again(minutes: float, memory: str) -> int:
    """The same in an environment that libc reads when a process starts."""
    command = [sys.executable, "-m", "tests.fuzz", *sys.argv[1:]]
    command += ["--minutes", str(minutes), "--memory", memory]
    return subprocess.run(command, env={**os.environ, **ONE_THREAD, **MEMORY[memory]}).returncode


if __name__ == "__main__":
    main()
