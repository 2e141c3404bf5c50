"""Who the runner is: not root, and without capabilities."""

import ctypes
import os
from pathlib import Path

from billiard.util import get_pdeathsig, set_pdeathsig  # type: ignore[attr-defined]  # no stubs

from fl_server_ai.inference.runner.cage.files import LIBRARIES

NOBODY = 65534

VERSION_3 = 0x20080522
"""Of the structures of capset(2): pid follows, then three words each for two sets of 32."""


def hold(gpu: bool) -> str:  # noqa: ARG001 (the layers' contract)
    """Become nobody where this is root, unless nobody could import a module any more."""
    words = f"user {os.geteuid()}"
    if os.geteuid() == 0:
        os.setgroups([])
        if all(_is_public(path) for path in LIBRARIES):
            end = get_pdeathsig()
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            set_pdeathsig(end)  # the system has forgotten it
            words = f"user {NOBODY}"
        else:
            words = "root, because the libraries can be read by root alone,"
    _drop_capabilities()
    return f"{words} without capabilities"


def _is_public(path: Path) -> bool:
    """Whether everybody can get at the path."""
    here = path.resolve()
    return all(
        place.stat().st_mode & needed == needed
        for place in (here, *here.parents)
        for needed in [0o005 if place.is_dir() else 0o004]
    )


def _drop_capabilities() -> None:
    """Give up all capabilities; nothing brings them back but exec, which `calls` forbids."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset((ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")
