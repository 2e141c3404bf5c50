"""What the members of an archive declare together."""

from collections.abc import Collection, Mapping

from . import words
from .words import Denied

MAX_DEPTH = 100
"""Torch resolves types and functions by recursion: 3,000 in each other overflow a stack of 8 MiB,
1,000 don't. Models of seven libraries have 13 at most."""
MAX_DEFINITIONS = 10_000
"""Those have 1,213 at most."""


class Declarations:
    """What the members declare together, and what of it they use, checked when all are read."""

    def __init__(self) -> None:
        self.operators = words.listed("operators.txt")
        self.withheld = words.listed("withheld.txt") | words.GUARDED
        self.declared = set(words.OF_ANY_VALUE)
        self.bases: dict[str, list[str]] = {}
        self.defined: dict[str, set[str]] = {words.CHECKED: set(words.checked())}
        self.fields: dict[str, dict[str, str]] = {}  # of each class: name → type
        self.attributes: dict[str, str] = {}
        self.paths: dict[str, str] = {}
        self.references: dict[str, set[str]] = {}  # what each class or function names
        self.blind = ""  # place of a cast that may hide a tuple or an object
        self.guarded = ""  # place of a cast that is right only if none hides one

    def check_uses(self) -> None:
        """Deny what no member declares."""
        for name, where in self.attributes.items():
            if name not in self.declared:
                raise Denied(f"{where}: no class of the model declares {name!r}.")
        for path, where in self.paths.items():
            owner, _, member = path.rpartition(".")
            if path not in self.defined and member not in self.defined.get(owner, ()):
                raise Denied(f"{where}: {path!r} is not defined in the model.")
        if len(self.references) > MAX_DEFINITIONS or depth(self.references) > MAX_DEPTH:
            raise Denied("its classes and functions are nested too deeply, or too many.")
        if self.blind and self.guarded:
            raise Denied(
                f"{self.guarded}: casts a value that could be one hidden at {self.blind}; "
                "use torch.jit.trace."
            )


def depth(references: Mapping[str, Collection[str]]) -> int:
    """How long a chain of definitions that use others is; those in a circle count one by one."""
    waiting = {
        name: {other for path in paths for other in (path, path.rpartition(".")[0])}
        & references.keys() - {name}
        for name, paths in references.items()
    }
    levels = 0
    while levels < MAX_DEPTH:
        ready = {name for name, others in waiting.items() if not others}
        if not ready:
            break
        levels += 1
        waiting = {name: others - ready for name, others in waiting.items() if name not in ready}
    return levels + len(waiting)
