"""The names that TorchScript gives its types."""

import re
from typing import NamedTuple

from fl_archive.errors import Refused

MAX_DEPTH = 20
"""Of types within types: torch reads them by recursion, which a long name makes overflow."""

TOKEN = re.compile(r"Tuple\[\(\)\]|[A-Za-z_][\w.]*|[][,]", re.ASCII)


class ScriptType(NamedTuple):
    """A type, such as `Dict[str, Tensor]`."""

    name: str
    of: tuple["ScriptType", ...] = ()

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.of)) or ("()" if self.name == "Tuple" else "")
        return f"{self.name}[{inner}]" if inner else self.name


ANY = ScriptType("Any")


def parse_type(text: str) -> ScriptType:
    """The type by its name, which must be spelt exactly as torch does, or is `Refused`."""
    try:
        kind = _read(TOKEN.findall(text)[::-1], 0)
    except IndexError as error:
        raise Refused("The name of a type is incomplete.") from error
    if str(kind) != text:
        raise Refused(f"{text[:80]!a} is not the name of a type as torch writes it.")
    return kind


def _read(tokens: list[str], depth: int) -> ScriptType:
    if depth > MAX_DEPTH:
        raise Refused("The name of a type is nested too deeply.")
    name = tokens.pop()
    of: list[ScriptType] = []
    if tokens and tokens[-1] == "[":
        while tokens.pop() in "[,":
            of.append(_read(tokens, depth + 1))
    if name in "[],":
        raise Refused("The name of a type is incomplete.")
    return ScriptType(name.removesuffix("[()]"), tuple(of))
