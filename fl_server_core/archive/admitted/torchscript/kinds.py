"""What can be seen of the types of a function's variables."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping

from .words import dotted

UNKNOWN = "?"
Binding = str | ast.expr  # a type as it is written, or the value that is assigned


class Kinds:
    """Every type that a variable may have had by one of its bindings, whichever came last."""

    def __init__(
        self, function: ast.FunctionDef, fields: Mapping[str, str], outer: "Kinds | None"
    ) -> None:
        self.fields = fields
        self.bindings: dict[str, list[Binding]] = defaultdict(list, outer.bindings if outer else {})
        for node in ast.walk(function):
            for name, binding in bindings(node):
                self.bindings[name] = [*self.bindings[name], binding]

    def of(self, value: Binding, seen: frozenset[str] = frozenset()) -> set[str]:
        """The types as they are written; UNKNOWN among them where one can't be seen."""
        match value:
            case str():
                return {value}
            case ast.Name(name):
                known = self.bindings.get(name, [UNKNOWN]) if name not in seen else []
                return set().union(*(self.of(binding, seen | {name}) for binding in known))
            case ast.Attribute(ast.Name("self"), field):
                return {self.fields.get(field, UNKNOWN)}
            case ast.Constant(None):
                return {"NoneType"}
            case ast.Call(ast.Name("annotate" | "unchecked_cast" | "uninitialized"), [kind, *_]):
                return {ast.unparse(kind)}
        return {UNKNOWN}

    def may_become(self, kind: ast.expr, value: ast.expr) -> bool:
        """Whether nothing but this type, or None, was ever assigned to the value."""
        target = ast.unparse(kind)
        return self.of(value) <= {target, f"Optional[{target}]", "NoneType"}


def bindings(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    """What the statement (or argument) gives to which names."""
    match node:
        case ast.arg(name, annotation):
            yield name, ast.unparse(annotation) if annotation else UNKNOWN
        case ast.AnnAssign(ast.Name(name), annotation):
            yield name, ast.unparse(annotation)
        case ast.Assign([ast.Name(name)], value):
            yield name, value
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if len(targets) == len(values):
            for target, value in zip(targets, values, strict=True):
                yield dotted(target), value
        case ast.Assign([target], _) | ast.For(target) | ast.withitem(_, ast.expr() as target):
            for part in ast.walk(target):
                yield dotted(part) if isinstance(part, ast.expr) else "", UNKNOWN
        case ast.FunctionDef(name):
            yield name, UNKNOWN
