"""How much a pickle's values hold and how deep, each looked at once."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fl_archive.constructors.constraints import is_dtype
from fl_archive.records import UNSET, Call, Global, Pairs
from fl_archive.views import is_tensor


class Extent(NamedTuple):
    """Of one value; what it refers to twice counts twice.

    `values` and `nesting` are those outside of the modules in it, `calls` and `depth` those of
    modules. `acts`: something in it can be called. `huge`: an integer in it has more than 64 bits.
    """

    values: int = 1
    nesting: int = 0
    calls: int = 0
    depth: int = 0
    acts: bool = False
    huge: bool = False


LEAF = Extent()


def is_module(value: object) -> bool:
    """Whether it is an object that was made empty and then filled, as modules are."""
    return isinstance(value, Call) and value.new


def parts(value: object) -> list[object]:
    """What a value is made of; of tensors nothing."""
    if isinstance(value, Pairs):
        return [part for pair in value for part in pair]
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, Call) or is_tensor(value):
        return []
    filled = (value.state, value.items, value.elements)
    return [*value.args, *(part for part in filled if part is not UNSET)]


class Measured:
    """The extents of all that some values hold, in one walk without recursion."""

    def __init__(self, roots: Iterable[object]) -> None:
        self.extents: dict[int, Extent] = {}
        self.modules: list[Call] = []
        self.cyclic: set[int] = set()
        """The ids of modules that are a part of themselves."""
        self._open: set[int] = set()
        for root in roots:
            self._walk(root)

    def of(self, value: object) -> Extent:
        """The extent of a root, or of anything in one."""
        if type(value) is int and abs(value) >= 1 << 63:
            return Extent(huge=True)
        if isinstance(value, Global):
            return Extent(acts=not is_dtype(value))
        return self.extents.get(id(value), LEAF)

    def _walk(self, root: object) -> None:
        pending = [self._opened(root)] if self._is_new(root) else []
        while pending:
            value, held, rest = pending[-1]
            for part in rest:
                if self._is_new(part):
                    pending.append(self._opened(part))
                    break
            else:
                pending.pop()
                self._close(value, held)

    def _is_new(self, value: object) -> bool:
        if not isinstance(value, list | tuple | Call) or id(value) in self.extents:
            return False
        if id(value) not in self._open:
            return True
        if is_module(value):
            self.cyclic.add(id(value))
        return False

    def _opened(self, value: object) -> tuple[object, list[object], Iterator[object]]:
        self._open.add(id(value))
        held = parts(value)
        return value, held, iter(held)

    def _close(self, value: object, held: list[object]) -> None:
        self._open.remove(id(value))
        values = nesting = calls = depth = 0
        acts = huge = False
        for part in held:
            extent = self.of(part)
            values += extent.values
            nesting = max(nesting, extent.nesting)
            calls += extent.calls
            depth = max(depth, extent.depth)
            acts, huge = acts or extent.acts, huge or extent.huge
        if isinstance(value, Call) and value.new:
            self.modules.append(value)
            extent = Extent(calls=calls + 1, depth=depth + 1, acts=True)
        else:
            extent = Extent(values + 1, nesting + 1, calls, depth, acts, huge)
        self.extents[id(value)] = extent
