"""What an `isinstance` tells about a variable, in the branches of the `if` that asks for it.

Torch prints a guarded cast so, and the conjunction of two guards as the second:

    _0 = isinstance(x, Tensor)          _1 = isinstance(x, tuple)
    if _0:                              if _1:
      x0 = unchecked_cast(Tensor, x)      _3, y = isinstance(z, tuple), x
    else:                               else:
      x1 = unchecked_cast(Tuple[…], x)    _3, y = False, None

What is known of a variable ends where it gets another value: at the assignment, and for a whole
loop if the loop holds one.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Self

from .static_types import UNKNOWN, StaticTypes, bindings
from .words import dotted

Types = frozenset[str]
Facts = Mapping[str, Types]
Told = tuple[Facts | None, Facts | None]
"""What holds where a condition is true, and where it is false; None: it never is."""

NOTHING: Told = ({}, {})
# Torch finds a tuple's type by its elements; where they are of these types, it always finds the
# declared one. Tuples that it loads are unnamed, so it never takes one for a NamedTuple.
PLAIN = re.compile(r"(Tuple|Optional|Tensor|NoneType|bool|complex|float|int|str|[\[\], ])+")


@cache
def alternatives(text: str) -> Types:
    """The types of which a union is made."""
    if text == UNKNOWN:
        return frozenset({text})
    match ast.parse(text, mode="eval").body:
        case ast.Subscript(ast.Name("Union"), ast.Tuple(types)):
            return frozenset().union(*(alternatives(ast.unparse(type_)) for type_ in types))
        case ast.Subscript(ast.Name("Optional"), type_):
            return alternatives(ast.unparse(type_)) | {"NoneType"}
        case ast.Constant(None):
            return frozenset({"NoneType"})
        case _:
            return frozenset({text})


def is_sized(text: str) -> bool:
    """Whether it is the type of tuples or objects, or of what holds them."""
    return "Tuple" in text or "__torch__" in text


def is_open(text: str) -> bool:
    """Whether a value of the type may be a tuple or an object, or hold one."""
    return is_sized(text) or "Any" in text or text == UNKNOWN


@dataclass
class Guards:
    """What is known at one place of the code.

    `static` are the types that hold everywhere, `bases` those of the archive's classes.
    """

    static: StaticTypes
    bases: Mapping[str, Sequence[str]]
    facts: dict[str, Types] = field(default_factory=dict)
    flags: dict[str, Told] = field(default_factory=dict)

    def of(self, value: ast.expr) -> Types:
        """The types that the value may have here; UNKNOWN among them where one can't be seen."""
        if isinstance(value, ast.Name) and value.id in self.facts:
            return self.facts[value.id]
        return frozenset().union(*map(alternatives, self.static.of(value)))

    def others(self, type_: ast.expr, value: ast.expr) -> Types:
        """The types that the value may have besides this one; not None, which torch checks."""
        wanted = alternatives(ast.unparse(type_))
        return frozenset() if "Any" in wanted else self.of(value) - wanted - {"NoneType"}

    def copy(self) -> Self:
        """A copy, to follow another branch with."""
        return type(self)(self.static, self.bases, dict(self.facts), dict(self.flags))

    def assign(self, node: ast.stmt) -> None:
        """Note what a statement assigns."""
        given = dict(bindings(node))
        values = {name: value for name, value in given.items() if isinstance(value, ast.expr)}
        facts = {name: self.of(value) for name, value in values.items()}
        flags = {name: self._told(value) for name, value in values.items()}
        self.forget(given)
        self.facts |= {name: types for name, types in facts.items() if UNKNOWN not in types}
        self.flags |= {
            name: _told_without(told, set(given)) for name, told in flags.items() if told != NOTHING
        }

    def forget(self, names: Iterable[str]) -> None:
        """Drop what is known of these variables, because they have other values now."""
        gone = set(names)
        self.facts = _without(self.facts, gone)
        self.flags = {
            name: _told_without(told, gone) for name, told in self.flags.items() if name not in gone
        }

    def when(self, test: ast.expr, *, holds: bool) -> Self:
        """What is known where the condition holds, or doesn't."""
        branch = self.copy()
        branch.facts |= self._told(test)[0 if holds else 1] or {}
        return branch

    def joined(self, other: Self) -> Self:
        """What is known whichever of two branches ended here."""
        flags = {
            name: (self._either(other, name, 0), self._either(other, name, 1))
            for name in self.flags.keys() & other.flags.keys()
        }
        return type(self)(self.static, self.bases, dict(_either(self.facts, other.facts)), flags)

    def _either(self, other: Self, flag: str, index: int) -> Facts | None:
        """What holds if the flag, which both branches have set, is true (0) or false (1)."""
        here, there = self.flags[flag][index], other.flags[flag][index]
        if here is None or there is None:
            told, facts = (there, other.facts) if here is None else (here, self.facts)
            return None if told is None else {**facts, **told}
        return _either({**self.facts, **here}, {**other.facts, **there})

    def _told(self, test: ast.expr) -> Told:
        match test:
            case ast.Constant(bool(value)):
                return ({}, None) if value else (None, {})
            case ast.Name(name):
                return self.flags.get(name, NOTHING)
            case ast.Call(func, [inner]) if dotted(func) == "torch.__not__":
                return self._told(inner)[::-1]
            case ast.Call(ast.Name("isinstance"), [ast.Name(name) as value, types]):
                asked = types.elts if isinstance(types, ast.Tuple) else [types]
                return self._asked(name, self.of(value), {ast.unparse(type_) for type_ in asked})
        return NOTHING

    def _asked(self, name: str, types: Types, asked: set[str]) -> Told:
        found = frozenset().union(*(self._found(types, type_) for type_ in asked))
        left = {type_ for type_ in types if not any(self._is_surely(type_, one) for one in asked)}
        nowhere = frozenset({UNKNOWN})
        return {name: found or nowhere}, {name: frozenset(left) or nowhere}

    def _found(self, types: Types, asked: str) -> Types:
        """What a value of one of the types is, once torch has found it to be what was asked for."""
        if asked not in ("list", "tuple"):
            return frozenset({asked})
        return frozenset(type_ for type_ in types if is_open(type_) and not self._is_object(type_))

    def _is_surely(self, type_: str, asked: str) -> bool:
        """Whether torch finds every value of the type to be what was asked for."""
        if asked in ("list", "tuple"):
            return type_.startswith(f"{asked.title()}[")
        plain = not is_open(type_) or self._is_object(type_) or PLAIN.fullmatch(type_)
        return type_ == asked and bool(plain)

    def _is_object(self, type_: str) -> bool:
        """Whether it is a class of the archive, and neither a NamedTuple nor an interface."""
        return self.bases.get(type_) in ([], ["Module"])


def _either(here: Facts, there: Facts) -> Facts:
    return {name: here[name] | there[name] for name in here.keys() & there.keys()}


def _without(facts: Facts, names: set[str]) -> dict[str, Types]:
    return {name: types for name, types in facts.items() if name not in names}


def _told_without(told: Told, names: set[str]) -> Told:
    true, false = (None if facts is None else _without(facts, names) for facts in told)
    return true, false
