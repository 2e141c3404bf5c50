"""What a pickle says, as inert objects: nothing is imported, called, hashed or compared."""

from dataclasses import dataclass, field
from typing import Final


class Unset:
    """The type of `UNSET`: no BUILD has given an object its state (which may be None)."""


UNSET: Final = Unset()


class Pairs(list[tuple[object, object]]):
    """A dict's entries; keys are not hashed, because chosen ones could make that quadratic."""


class Bare(tuple[object]):
    """What a call got without a tuple around it, as TorchScript writes the values of enums."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function by name."""

    module: str
    name: str

    @property
    def pair(self) -> tuple[str, str]:
        """Module and name."""
        return self.module, self.name


@dataclass(eq=False, repr=False, slots=True)
class Call:
    """An object made by calling `callee` (`new`: its `__new__`), then filled."""

    callee: object
    args: tuple[object, ...]
    new: bool = False
    state: object = UNSET
    items: Pairs | None = None
    elements: list[object] | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """Module and name of what is called; empty if it isn't a name."""
        return self.callee.pair if isinstance(self.callee, Global) else ("", "")

    @property
    def filled(self) -> bool:
        """Whether anything was done to the object after the call."""
        return (self.state, self.items, self.elements) != (UNSET, None, None)


@dataclass(frozen=True, slots=True)
class Storage:
    """A block of bytes that tensors view; `numel` counts elements of `dtype`."""

    dtype: str
    key: str
    location: str
    numel: int


@dataclass(slots=True)
class Pickle:
    """All that one pickle holds.

    `oddity` is the first thing that torch never writes, `scripted` the first that only
    TorchScript's own pickler does, and `unscripted` the first that it doesn't and Python's does.
    `keys` are those of dicts that are tuples.
    """

    protocol: int
    root: object = None
    globals: set[tuple[str, str]] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    keys: list[tuple[object, ...]] = field(default_factory=list)
    oddity: str | None = None
    scripted: str | None = None
    unscripted: str | None = None


def text_items(record: object) -> dict[str, object] | None:
    """A dict or OrderedDict whose keys are all text, the last of equal keys counting.

    None for anything else.
    """
    if isinstance(record, Call) and record.pair == ("collections", "OrderedDict"):
        record = record.items or Pairs()
    elif isinstance(record, Call):
        record = record.items
    if not isinstance(record, Pairs):
        return None
    entries = {key: value for key, value in record if isinstance(key, str)}
    return entries if all(isinstance(key, str) for key, _ in record) else None
