"""What a value, a call or a type in the code may be."""

import ast
import re
from collections.abc import Iterable, Sequence

from . import operators, words
from .declarations import Declarations
from .guards import Guards, is_open, is_sized
from .static_types import StaticTypes
from .words import Denied, dotted


class Expressions:
    """Checks expressions in the scope of the function that is being read."""

    def __init__(self, declarations: Declarations, name: str) -> None:
        self.declarations = declarations
        self.name = name
        self.definition = ""  # the class or function of the archive that is being read
        self.bound: frozenset[str] = frozenset()
        self.receiver = ""  # what a method calls its own object
        self.guards = Guards(StaticTypes(), declarations.bases)
        self.edits: list[operators.Edit] = []

    def denied(self, node: ast.AST, why: str) -> Denied:
        """The exception to raise, with the place and a piece of the code."""
        line = getattr(node, "lineno", 0)
        return Denied(f"{self.name}, line {line}: {ast.unparse(node)[:80]!r} {why}.")

    def check_value(self, node: ast.expr) -> None:
        """Check a value, and the values that it is made of."""
        match node:
            case ast.Name(name):
                if name not in self.bound | words.NUMBERS:
                    raise self.denied(node, "is not a value of the function")
            case ast.Constant(None | bool() | int() | float() | complex() | str()):
                pass
            case ast.UnaryOp(ast.USub(), ast.Constant() | ast.Name() as value):
                self.check_value(value)
            case ast.BinOp(left, ast.Add() | ast.Sub(), ast.Constant(complex())):
                self.check_literal(left)
            case ast.Attribute():
                self._check_attribute(node)
            case ast.Call():
                self._check_call(node)
            case ast.IfExp() if operators.is_guarded(node):
                self.check_value(node.orelse)
            case _:
                self.check_values(self._parts(node))

    def check_values(self, nodes: Iterable[ast.expr | None]) -> None:
        """Check each of them; None is a bound that a slice leaves out."""
        for node in nodes:
            if node:
                self.check_value(node)

    def check_literal(self, node: ast.expr) -> None:
        """Check what is computed while the model is loaded: defaults and constants."""
        calls = (part for part in ast.walk(node) if isinstance(part, ast.Call))
        if any(dotted(call.func) not in ("annotate", "torch.device") for call in calls):
            raise self.denied(node, "would be computed while the model is loaded")
        self.check_value(node)

    def check_type(self, node: ast.expr) -> None:
        """Torch's own types and the classes of the archive."""
        match node:
            case ast.Constant(None):
                pass
            case ast.Name(name) if name in words.TYPES:
                pass
            case ast.Attribute():
                self._use_path(node)
            case ast.Subscript(ast.Name(name), inner) if name in words.GENERICS:
                for item in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
                    self.check_type(item)
            case _:
                raise self.denied(node, "is not an admitted type")

    def check_arguments(self, node: ast.Call) -> None:
        """What is passed, by position or by name."""
        self.check_values([*node.args, *(keyword.value for keyword in node.keywords)])

    def _parts(self, node: ast.expr) -> Sequence[ast.expr | None]:
        match node:
            case ast.Tuple(items) | ast.List(items):
                return items
            case ast.Dict(keys, values):
                return [*keys, *values]
            case ast.Subscript(value, ast.Slice(lower, upper, None)):
                return [value, lower, upper]
            case ast.Subscript(value, index):
                return [value, index]
            case _:
                raise self.denied(node, "is not written by torch.jit.save")

    def _check_attribute(self, node: ast.Attribute) -> None:
        path = dotted(node)
        if words.starts(path, "__torch__"):
            self._use_path(node)
        elif not words.starts(path, "CONSTANTS"):
            self._use_attribute(node, node.value, node.attr)
        elif not re.fullmatch(r"CONSTANTS\.c\d+", path):
            raise self.denied(node, "is no constant of the model")

    def _use_attribute(self, node: ast.expr, value: ast.expr, name: str) -> None:
        own = isinstance(value, ast.Name) and value.id == self.receiver
        self.check_value(value)
        if name in self.declarations.withheld and not own and not self._is_object(value):
            raise self.denied(node, f"may mean the operator {name!r}; rename the attribute")
        self.declarations.attributes.setdefault(name, f"{self.name}, line {node.lineno}")

    def _is_object(self, value: ast.expr) -> bool:
        return self.guards.static.of(value) <= self.declarations.bases.keys()

    def _use_path(self, node: ast.expr) -> None:
        path = dotted(node)
        if not words.starts(path, "__torch__") or words.starts(path, words.BOUND_IN_C):
            raise self.denied(node, "is not defined in the model")
        self.declarations.references[self.definition].add(path)
        self.declarations.paths.setdefault(path, f"{self.name}, line {node.lineno}")

    def _check_call(self, node: ast.Call) -> None:
        path = dotted(node.func)
        if path in words.FORMS and not node.keywords:
            self._check_form(node)
        elif node.keywords and not any(words.starts(path, one) for one in ("torch", words.CHECKED)):
            raise self.denied(node, "passes by name what torch.jit.save doesn't")
        elif path in words.PLAIN | self.bound:
            self.check_arguments(node)
        elif words.starts(path, "torch") or words.starts(path, "ops"):
            if words.RENAMED.get(path, path) not in self.declarations.operators:
                raise self.denied(node.func, "is an operator that is not admitted")
            self.check_arguments(node)
            self._edit(node, path)
        elif isinstance(node.func, ast.Attribute):
            self._check_attribute(node.func)
            self.check_arguments(node)
        else:
            raise self.denied(node, "calls something that is not admitted")

    def _edit(self, node: ast.Call, path: str) -> None:
        try:
            self.edits += operators.edits(node, path)
        except operators.Unfit as unfit:
            raise self.denied(unfit.node, str(unfit)) from unfit

    def _check_form(self, node: ast.Call) -> None:
        """The calls that take a type or an attribute's name."""
        match node.func, node.args:
            case ast.Name("getattr"), [value, name] if text := words.plain_text(name):
                self._use_attribute(node, value, text)
            case ast.Name("uninitialized"), [type_]:
                self.check_type(type_)
            case ast.Name("annotate"), [type_, value]:
                self.check_type(type_)
                self.check_value(value)
            case ast.Name("unchecked_cast"), [type_, value]:
                self._check_cast(node, type_, value)
            case ast.Name("isinstance"), [value, types]:
                self.check_value(value)
                for type_ in types.elts if isinstance(types, ast.Tuple) else [types]:
                    if dotted(type_) not in ("list", "tuple"):
                        self.check_type(type_)
            case _:
                raise self.denied(node, "is not written by torch.jit.save")

    def _check_cast(self, node: ast.Call, type_: ast.expr, value: ast.expr) -> None:
        """Check a cast, which torch believes: of tuples and objects it doesn't even check the size.

        A cast to something else could hide one from the `isinstance` that another cast relies on.
        """
        self.check_type(type_)
        self.check_value(value)
        others = self.guards.others(type_, value)
        where = f"{self.name}, line {node.lineno}"
        if not is_sized(ast.unparse(type_)):
            if any(map(is_open, others)):
                self.declarations.blind = where
        elif others:
            raise self.denied(
                node, "casts a value whose type can't be seen; ask by isinstance in an if"
            )
        elif Guards(self.guards.static, self.declarations.bases).others(type_, value):
            self.declarations.guarded = where
