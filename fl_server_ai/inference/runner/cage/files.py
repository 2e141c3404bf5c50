"""Which files can be opened: the libraries, to read. Kept by Landlock, of any version.

What a job needs was opened by the worker: Landlock asks when a file is opened, not when it is
read. It leaves alone who asks for a file's size and dates by its name.
"""

import os
import sysconfig
from glob import glob
from pathlib import Path

import landlock

PACKAGES = Path(__file__).resolve().parents[3]

SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/sys/devices/system/cpu",  # how many there are
)
GPU_READ = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver/nvidia",
    "/proc/modules",
    "/proc/sys/vm",
    "/sys/bus/pci",
    "/sys/devices",
    "/sys/module",
    "/usr/local/cuda",
    "/usr/share/nvidia",
)
GPU_USE = ("/dev/nvidia*", "/proc/self/task")
"""The driver's devices; and the files by which it names its threads."""


def _existing(patterns: list[str] | tuple[str, ...]) -> list[Path]:
    return [Path(path) for pattern in patterns for path in glob(pattern)]


def _libraries() -> list[Path]:
    """Return where modules are imported from, ours among them, and what they load.

    Not all of `sys.path`: a checkout may hold the data folder too.
    """
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = [str(path.parent) for path in PACKAGES.glob("fl_*/__init__.py")]
    told = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return _existing([*SYSTEM, *python, *ours, *filter(os.path.isabs, told)])


LIBRARIES = _libraries()
"""Looked up once, by the fork server."""

READ = landlock.FSAccess.READ_FILE
LIST = landlock.FSAccess.READ_DIR
WRITE = landlock.FSAccess.WRITE_FILE
TRUNCATE = landlock.FSAccess.TRUNCATE
IOCTL = landlock.FSAccess.IOCTL_DEV


def hold(gpu: bool) -> str:
    """Let nothing be opened but what is listed here."""
    abi = landlock.landlock_abi_version()
    rules = landlock.Ruleset()
    for path in LIBRARIES + (_existing(GPU_READ) if gpu else []):
        rules.allow(path, rules=READ | LIST if path.is_dir() else READ)
    for path in _existing(GPU_USE) if gpu else []:
        use = READ | WRITE | (TRUNCATE if abi >= 3 else 0) | (IOCTL if abi >= 5 else 0)
        rules.allow(path, rules=use | LIST if path.is_dir() else use)
    rules.apply()
    os.close(rules._fd)  # it has no method for that
    return f"Landlock {abi}"
