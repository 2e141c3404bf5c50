"""The TorchScript code that a model may bring, checked in a process of its own."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fl_server_core.archive.errors import Refused

MAX_BYTES = 2 << 20
"""All code members together: a scripted Transformer has 72 kB however many layers, a traced one
7 kB a layer. Python's parser needs up to 500 bytes of memory and 5 µs for a byte of it."""
SECONDS = 120
"""Of waiting for the child, which has 10 s of computing: a busy machine gives it little of that."""
# Isolated and without site-packages: nothing of the environment reaches the child.
COMMAND = [
    *(sys.executable, "-I", "-S", "-c"),
    "import sys; sys.path.insert(0, sys.argv[1]); from torchscript.child import main; main()",
    str(Path(__file__).parent),
]

# Strings are matched to be left alone, open ones too: a search from every quote took minutes.
STRING = rb"""("(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?)"""
EMPTY = re.compile(STRING + rb"|\btorch\.(new_)?empty(_like)?\(")


def zeroed(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same code with torch.zeros for torch.empty, which shows what memory held before.

    To be checked and stored in place of the original: check_code refuses torch.empty.
    """
    return {name: _zeroed(source) for name, source in sources.items()}


def check_code(sources: Mapping[str, bytes]) -> None:
    """Refuse code members (`code/__torch__/….py`, with `code/` or without) that name anything else.

    All of an archive's members at once: a member may use what another one defines.
    """
    if sum(map(len, sources.values())) > MAX_BYTES:
        raise Refused(f"The model's code is larger than {MAX_BYTES >> 20} MiB; make it smaller.")
    if sentence := _checked(json.dumps(_texts(sources))):
        raise Refused(f"The model's code is refused: {sentence}")


def _zeroed(source: bytes) -> bytes:
    def replaced(match: re.Match[bytes]) -> bytes:
        string, new, like = match.groups(b"")
        return string or b"torch.%szeros%s(" % (new, like)

    return EMPTY.sub(replaced, source)


def _texts(sources: Mapping[str, bytes]) -> dict[str, str]:
    try:
        return {name: source.decode("ascii") for name, source in sources.items()}
    except UnicodeDecodeError as error:
        raise Refused("The model's code isn't ASCII; save it anew with torch.jit.save.") from error


def _checked(message: str) -> str:
    """The child's sentence; it is executed afresh, so threads of this process don't matter."""
    try:
        child = subprocess.run(  # noqa: S603 - a fixed command
            COMMAND, input=message, capture_output=True, text=True, timeout=SECONDS, env={}
        )
    except subprocess.TimeoutExpired:
        return "it takes too long to read; make it smaller."
    if child.returncode:
        return "it takes too much time or memory to read; make it smaller."
    return child.stdout
