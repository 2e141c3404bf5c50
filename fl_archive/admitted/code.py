"""The TorchScript code that a model may bring, checked in a process of its own."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fl_archive.errors import Refused

MAX_BYTES = 2 << 20
"""All code members together: a scripted Transformer has 72 kB however many layers, a traced one
7 kB a layer. Python's parser needs up to 500 bytes of memory and 5 µs for a byte of it."""
SECONDS = 120
"""Waiting for the child, which may compute for 10 s: on a busy machine these take longer."""
# Isolated and without site-packages: nothing of the environment reaches the child.
COMMAND = [
    *(sys.executable, "-I", "-S", "-c"),
    "import sys; sys.path.insert(0, sys.argv[1]); from torchscript.child import main; main()",
    str(Path(__file__).parent),
]

# We write this member ourselves, with functions for the model's code to call; a file's is dropped.
CHECKED = "code/__torch__/fl_checked.py"
FUNCTIONS = (Path(__file__).parent / "checked.txt").read_bytes()
NAMES = b"|".join({*re.findall(rb"^def (\w+)\(", FUNCTIONS, re.MULTILINE)} - {b"lstm"})

# Strings are matched so that nothing in them is replaced, unclosed ones too, because a search for
# the end from every quote took minutes.
STRING = rb"""("(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?)"""
REPLACED = re.compile(STRING + rb"|\btorch\.(?:(new_)?empty(_like)?|(" + NAMES + rb"))\(")


def replaced(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same code with safe operators for unsafe ones, to be checked and stored in its place.

    torch.empty becomes torch.zeros, because it would show what memory held before; operators that
    don't check their arguments become functions that do (checked.txt).
    """
    return {name: _replaced(source) for name, source in sources.items() if name != CHECKED}


def check_code(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Refuse code members (`code/__torch__/….py`, with `code/` or without) that name anything else.

    All of an archive's members at once: a member may use what another one defines. Returns them as
    they may be loaded: with checks of what integers are divided by, and with those functions.
    """
    if sum(map(len, sources.values())) > MAX_BYTES:
        raise Refused(f"The model's code is larger than {MAX_BYTES >> 20} MiB; make it smaller.")
    answer = _checked(json.dumps(_texts(sources)))
    if isinstance(answer, str):
        raise Refused(f"The model's code is refused: {answer}")
    checked = {name: text.encode("ascii") for name, text in answer.items()}
    uses = any(b"__torch__.fl_checked." in source for source in checked.values())
    return checked | ({CHECKED: FUNCTIONS} if uses else {})


def _replaced(source: bytes) -> bytes:
    def safe(match: re.Match[bytes]) -> bytes:
        string, new, like, checked = match.groups(b"")
        if checked:
            return b"__torch__.fl_checked.%s(" % checked
        return string or b"torch.%szeros%s(" % (new, like)

    return REPLACED.sub(safe, source)


def _texts(sources: Mapping[str, bytes]) -> dict[str, str]:
    try:
        return {name: source.decode("ascii") for name, source in sources.items()}
    except UnicodeDecodeError as error:
        raise Refused("The model's code isn't ASCII; save it anew with torch.jit.save.") from error


def _checked(message: str) -> dict[str, str] | str:
    """The child's answer; as a new program it inherits no lock of this one's threads."""
    try:
        child = subprocess.run(  # noqa: S603 - a fixed command
            COMMAND, input=message, capture_output=True, text=True, timeout=SECONDS, env={}
        )
    except subprocess.TimeoutExpired:
        return "it takes too long to read; make it smaller."
    if child.returncode:
        return "it takes too much time or memory to read; make it smaller."
    answer: dict[str, str] | str = json.loads(child.stdout)
    return answer
