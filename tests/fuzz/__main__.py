"""Fuzzes what model code may call: python -m tests.fuzz --minutes 60

Each case runs in a forked child, its tensors between forbidden pages, twice with other bytes in
fresh memory: a signal, or a result that depends on those bytes, is a fault. One is run again by

    python -m tests.fuzz --case 'aten::embedding_bag' 0.17

The exit status is 1 where something fell. docs/fuzzing.md says what was found.
"""

import argparse
import os
import sys

# Blocks are checked when they are freed; nothing is handed out again unfilled.
CHECKING = {
    "LD_PRELOAD": "libc_malloc_debug.so.0",
    "GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.tcache_count=0",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def main() -> None:
    """Start again in an environment that checks memory; fuzz, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--rounds", type=int, default=1 << 60, help="cases of each operator")
    parser.add_argument("--operators", nargs="*", help="torch.…, instead of all that is admitted")
    parser.add_argument("--case", nargs=2, metavar=("NAME", "SEED"))
    options = parser.parse_args()
    if CHECKING.items() - os.environ.items():
        again = [sys.executable, "-m", "tests.fuzz", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | CHECKING)
    from tests.fuzz import campaign  # imports torch

    if options.case:
        campaign.show(*options.case)
        return
    subjects = campaign.overloads(options.operators) if options.operators else campaign.admitted()
    report = campaign.fuzz(subjects, options.seed, options.minutes * 60, options.rounds)
    print(report)
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
