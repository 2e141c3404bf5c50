"""Which of a file's tensors is which of the global model's: by name, wrappers' prefixes aside."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from fl_archive.errors import Mismatch, shown
from fl_archive.model import ModelFile

SHOWN = 3
"""Tensors that a refusal names."""

MAX_TRIED = 8
"""Prefixes that are tried, those that most names have."""

WRAPPED = re.compile(r"(?:(?:module|_orig_mod|model|_forward_module|_fsdp_wrapped_module)\.){1,5}")
"""What DataParallel, torch.compile, Lightning, Fabric and FSDP put in front of names."""

COMPILED = "_orig_mod."
"""What torch.compile puts into the middle of names where it compiled a part of the model."""


@dataclass(frozen=True)
class Expected:
    """The model's names, and groups of them (tied weights) of each of which one is needed.

    `buffers` are those that are no parameters.
    """

    known: Collection[str]
    needed: Sequence[Sequence[str]]
    buffers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Spelling:
    """The file's names without a prefix, and what is wrong with them then."""

    prefix: str
    names: list[str]
    missing: list[str]
    surplus: list[str]

    @property
    def faults(self) -> int:
        twice = len(self.names) - len(set(self.names))
        return len(self.missing) + len(self.surplus) + twice


def match_names(file: ModelFile, expected: Expected) -> None:
    """Give the file's tensors the names that the model has for them.

    A prefix is taken off where with exactly one all names fit. Tied weights may have more names
    than in the model, which weights alone may know by one of them. Raises `Mismatch`.
    """
    plain = list(file.tensors)
    ties = [spec.alias_of or spec.name for spec in file.tensors.values()]
    found = _spell("", plain, ties, expected)
    if found.faults:
        others = [_spell(prefix, it, ties, expected) for prefix, it in _without_prefixes(plain)]
        fitting = {tuple(other.names) for other in others if other.faults == 0}
        if len(fitting) != 1:
            raise Mismatch(_explain(min([found, *others], key=lambda it: it.faults), expected))
        file.rename(dict(zip(plain, fitting.pop(), strict=True)))
    file.tensors = {name: spec for name, spec in file.tensors.items() if name in expected.known}


def listed(names: Sequence[str]) -> str:
    """`tensor 'a'`, or `tensors 'a', 'b', 'c' and 4 more`."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"tensor{'s'[: len(names) - 1]} {', '.join(map(shown, names[:SHOWN]))}{more}"


def _without_prefixes(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    compiled = [name.replace(COMPILED, "") for name in names]
    if compiled != names:
        yield COMPILED, compiled
    for base in (names, compiled):
        prefixes = Counter(prefix for name in base for prefix in _prefixes(name))
        for prefix, _ in prefixes.most_common(MAX_TRIED):
            yield prefix, [name.removeprefix(prefix) for name in base]


def _prefixes(name: str) -> Iterator[str]:
    """`module.` and `module.model.` of `module.model.0.weight`."""
    if wrapped := WRAPPED.match(name):
        yield from (name[: dot.end()] for dot in re.finditer(r"\.", wrapped[0]))


def _spell(prefix: str, names: list[str], ties: list[str], expected: Expected) -> _Spelling:
    """`ties` has the same text for names of the same elements."""
    present = set(names)
    missing = [group[0] for group in expected.needed if present.isdisjoint(group)]
    known = {tie for tie, name in zip(ties, names, strict=True) if name in expected.known}
    surplus = [name for tie, name in zip(ties, names, strict=True) if tie not in known]
    return _Spelling(prefix, names, missing, surplus)


def _explain(best: _Spelling, expected: Expected) -> str:
    parts = []
    if best.prefix:
        parts.append(
            f"Names hold {shown(best.prefix)}, which a wrapper such as DataParallel, torch.compile "
            "or Lightning put there: send the state dict of the model inside."
        )
    if best.missing:
        parts.append(f"The file lacks {listed(best.missing)} of the global model.")
    if best.surplus:
        parts.append(f"The file holds {listed(best.surplus)}, which the global model lacks.")
    if best.missing and not best.surplus and expected.buffers.issuperset(best.missing):
        parts.append("Send the whole state_dict() of the model as it is downloaded.")
    return " ".join(parts)
