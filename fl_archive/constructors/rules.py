"""What a rule is: what holds of every module that a class' constructor made."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from fl_archive.admitted.pickled import Pair, admitted
from fl_archive.constructors.constraints import Constraint, plain
from fl_archive.records import Call, text_items
from fl_archive.views import Shape, is_tensor, read_shape


def is_of(pair: Pair, classes: Collection[str]) -> bool:
    """Whether the class is one of torch's by these names, or one that the operator has added."""
    return pair not in admitted() or pair[1] in classes


class Facts:
    """One module as its pickle has it. Attributes of the module are attributes here, or None.

    `known`: the facts of modules by their ids, those of its children among them.
    """

    def __init__(self, module: Call, known: Mapping[int, "Facts"] = MappingProxyType({})) -> None:
        self.pair = module.pair
        self.known = known
        self.state = text_items(module.state) or {}
        self.parameters, self.buffers, self.modules = (
            text_items(self.state.get(key)) or {} for key in ("_parameters", "_buffers", "_modules")
        )
        self.tensors = self.buffers | self.parameters

    def __getattr__(self, name: str) -> Any:
        return plain(self.state.get(name))

    def shape(self, name: str) -> Shape | None:
        """Of the parameter or buffer by that name; None if there is none."""
        tensor = self.tensors.get(name)
        return read_shape(tensor)[1] if is_tensor(tensor) else None

    @cached_property
    def dtypes(self) -> set[str]:
        """Of all parameters and buffers."""
        return {read_shape(tensor)[0] for tensor in self.tensors.values() if is_tensor(tensor)}

    def child(self, name: str) -> "Facts":
        """The module by that name; an empty one if there is none."""
        return self.known.get(id(self.modules.get(name)), NONE)

    @cached_property
    def classes(self) -> set[Pair]:
        """Of its children."""
        return {child.pair for child in self.modules.values() if isinstance(child, Call)}


NONE = Facts(Call(None, ()))


class Law(NamedTuple):
    """What holds between attributes; `subject` is the one to name when it doesn't."""

    subject: str
    words: str
    holds: Callable[[Facts], object]


class Complaint(NamedTuple):
    """The attribute that is wrong, and what it must be, as the end of a sentence."""

    subject: str
    words: str


Sized = Callable[[Facts], Shape | None]
"""The shape that a tensor must have; None: there must be no such tensor."""


@dataclass(frozen=True)
class Rule:
    """Of one class: its attributes, the shapes of its tensors, its children's classes, its laws.

    A tensor in `optional` may also be None or missing, as may a child that `children` allows to be
    "None"; a child's class "" stands for any.
    """

    attributes: Mapping[str, Constraint] = field(default_factory=dict)
    tensors: Mapping[str, Sized] = field(default_factory=dict)
    optional: Mapping[str, Sized] = field(default_factory=dict)
    children: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    laws: tuple[Law, ...] = ()

    def complaints(self, facts: Facts) -> Iterator[Complaint]:
        """What is wrong. Take the first alone, because later checks may fail on the same fault."""
        yield from self._misplaced(facts)
        for name, constraint in self.attributes.items():
            if name not in facts.state:
                fits = constraint.late or name in facts.modules
            else:
                fits = constraint.holds(plain(facts.state[name]))
            if not fits:
                yield Complaint(name, f"must be {constraint.words}")
        for name, classes in self.children.items():
            yield from self._check_child(facts, name, classes)
        for name, sized in (*self.tensors.items(), *self.optional.items()):
            yield from self._check_shape(facts, name, sized)
        for law in self.laws:
            if not law.holds(facts):
                yield Complaint(law.subject, law.words)

    def _misplaced(self, facts: Facts) -> Iterator[Complaint]:
        """Python looks among attributes, parameters, buffers and children, in that order."""
        for name in (*self.tensors, *self.optional, *self.children):
            if name not in self.attributes and facts.state.get(name) is not None:
                yield Complaint(name, "must not be a plain attribute")
        for name in self.attributes:
            if name in facts.tensors or (name in facts.modules and name not in self.children):
                yield Complaint(name, "must be a plain attribute")
        for name in (*self.tensors, *self.optional):
            if name in facts.modules:
                yield Complaint(name, "must be a parameter")
        for name in self.children:
            if name in facts.tensors:
                yield Complaint(name, "must be a module")

    def _check_child(
        self, facts: Facts, name: str, classes: tuple[str, ...]
    ) -> Iterator[Complaint]:
        child = facts.modules.get(name)
        if child is None:
            fits = "None" in classes or facts.state.get(name) is not None
        else:
            fits = "" in classes or is_of(facts.child(name).pair, classes)
        if not fits:
            wanted = " or ".join(filter(None, classes))
            yield Complaint(name, f"must be a module of class {wanted}" if wanted else "is missing")

    def _check_shape(self, facts: Facts, name: str, sized: Sized) -> Iterator[Complaint]:
        shape, wanted = facts.shape(name), sized(facts)
        if shape != wanted and not (shape is None and name in self.optional):
            yield Complaint(name, "must have the shape that the sizes say" + _said(wanted))


def _said(shape: Shape | None) -> str:
    return "" if shape is None else f", {list(shape)}"
