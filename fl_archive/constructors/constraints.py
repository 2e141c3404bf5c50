"""What the values may be that constructors of modules leave in attributes, each in words."""

from collections.abc import Callable, Iterable
from math import prod
from typing import NamedTuple

from fl_archive.admitted.pickled import admitted
from fl_archive.records import Call, Global, Pairs, text_items
from fl_archive.views import is_tensor

LARGEST = 2**31 - 1
"""Of a size: a weight of more rows would have more bytes than a file may have."""

MOST = 2**24
"""Elements of a window, or of an output whose size an attribute says: 4096 by 4096."""

GROWTH = 2**16
"""How many times larger an output may be than its input: 256 by 256 times."""


class Constraint(NamedTuple):
    """`late`: modules saved by older versions of torch may lack such an attribute."""

    words: str
    holds: Callable[[object], bool]
    late: bool = False

    def __or__(self, other: "Constraint") -> "Constraint":
        return Constraint(
            f"{self.words} or {other.words}",
            lambda value: self.holds(value) or other.holds(value),
            self.late or other.late,
        )

    def since(self) -> "Constraint":
        """The same where older versions of torch didn't have the attribute."""
        return self._replace(late=True)


def plain(value: object) -> object:
    """The value, and of a `torch.Size` the tuple in it."""
    if isinstance(value, Call) and value.pair == ("torch", "Size") and not value.filled:
        return value.args[0] if len(value.args) == 1 else value
    return value


def whole(low: int, high: int = LARGEST) -> Constraint:
    """A whole number in these bounds."""
    return Constraint(
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def between(low: float, high: float) -> Constraint:
    """Any number in these bounds."""
    return Constraint(
        f"a number from {low:g} to {high:g}",
        lambda value: type(value) in (int, float) and low <= value <= high,  # type: ignore[operator]
    )


def one_of(*values: object) -> Constraint:
    """One of these and no other."""
    return Constraint(
        " or ".join(map(repr, values)),
        lambda value: any(type(value) is type(allowed) and value == allowed for allowed in values),
    )


def each(
    constraint: Constraint, lengths: Iterable[int] = range(65), *, most: float = LARGEST
) -> Constraint:
    """A tuple or list of such values; the product of its numbers is bounded too."""
    counts = list(lengths)
    shown = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return Constraint(
        f"a tuple of {shown}, each {constraint.words}, multiplied at most {most}",
        lambda value: (
            isinstance(value, tuple | list)
            and len(value) in counts
            and all(map(constraint.holds, value))
            and prod(max(abs(number), 1) for number in _numbers(value)) <= most
        ),
    )


def spread(constraint: Constraint, dimensions: int, *, most: float = MOST) -> Constraint:
    """One value for all dimensions, or one for each."""
    several = each(constraint, [dimensions], most=most)
    return Constraint(
        f"{constraint.words}, or {several.words}",
        lambda value: (
            several.holds(value)
            or (constraint.holds(value) and several.holds((value,) * dimensions))
        ),
    )


def _numbers(values: Iterable[object]) -> list[float]:
    return [value for value in values if isinstance(value, int | float)]


def by_type(constraint: Constraint) -> Constraint:
    """A dict of such values by the type of an input, or by a text."""
    return Constraint(
        f"a dict of {constraint.words} by type",
        lambda value: (
            isinstance(value, Pairs)
            and all(isinstance(key, Global | str) and constraint.holds(held) for key, held in value)
        ),
    )


def enum_of(name: str) -> Constraint:
    """A member of torchvision's enum by that name."""
    return Constraint(
        f"an {name}",
        lambda value: isinstance(value, Call) and value.pair[1] == name and not value.new,
    )


def transforms(lengths: Iterable[int]) -> Constraint:
    """So many modules or functions, to be called one after another."""
    called = (
        Constraint("a transform", lambda value: isinstance(value, Call) and value.new) | FUNCTION
    )
    return each(called, lengths)


def is_function(value: object) -> bool:
    """Whether it is one of those that compute a tensor of a tensor."""
    return isinstance(value, Global) and value.module in ("torch.nn.functional", "torch._C._nn")


def is_dtype(value: object) -> bool:
    """Whether it is the name of a dtype, which nobody can call."""
    return isinstance(value, Global) and value.module == "torch" and value.name in DTYPES


DTYPES = {name for module, name in admitted() if module == "torch" and name.islower()} - {"device"}
NOTHING = one_of(None)
FLAG = one_of(True, False, 0, 1)
NUMBER = Constraint(
    "a number",
    lambda value: type(value) is float or (type(value) is int and abs(value) < 1 << 63),
)
PROBABILITY = between(0, 1)
TEXT = Constraint("a text", lambda value: type(value) is str)
COUNT = whole(0)
SIZE = whole(1)
INTEGER = whole(-LARGEST)
AXIS = whole(-64, 63)
WIDTH = whole(0, MOST)
LIST = Constraint("a list", lambda value: type(value) is list)
NAMES = Constraint(
    "a dict of names", lambda value: isinstance(value, Pairs) and text_items(value) is not None
)
FUNCTION = Constraint("a function of torch.nn.functional", is_function)
DTYPE = Constraint("a dtype", is_dtype)
TENSOR = Constraint("a tensor", is_tensor)
