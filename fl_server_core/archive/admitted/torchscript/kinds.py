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
        self.fields = fields  # `self.weight` → its type
        self.bindings: dict[str, set[Binding]] = defaultdict(set)
        for name, known in outer.bindings.items() if outer else ():
            self.bindings[name] |= known
        for node in ast.walk(function):
            for name, binding in bindings(node):
                self.bindings[name].add(binding)

    def of(self, value: ast.expr) -> set[str]:
        """The types as they are written; UNKNOWN among them where one can't be seen."""
        kinds: set[str] = set()
        seen: set[str] = set()
        todo: list[Binding] = [value]
        while todo:
            binding = todo.pop()
            if not isinstance(binding, ast.Name):
                kinds.add(binding if isinstance(binding, str) else self._kind(binding))
            elif binding.id not in seen:
                seen.add(binding.id)
                todo += self.bindings.get(binding.id, [UNKNOWN])
        return kinds

    def may_become(self, kind: ast.expr, value: ast.expr) -> bool:
        """Whether nothing but this type, or None, was ever assigned to the value."""
        target = ast.unparse(kind)
        return self.of(value) <= {target, f"Optional[{target}]", "NoneType"}

    def _kind(self, value: ast.expr) -> str:
        match value:
            case ast.Attribute():
                return self.fields.get(dotted(value), UNKNOWN)
            case ast.Constant(None):
                return "NoneType"
            case ast.Call(ast.Name("annotate" | "unchecked_cast" | "uninitialized"), [kind, *_]):
                return ast.unparse(kind)
        return UNKNOWN


def bindings(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    """What the statement (or argument) gives to which names."""
    match node:
        case ast.arg(name, annotation):
            yield name, ast.unparse(annotation) if annotation else UNKNOWN
        case ast.AnnAssign(ast.Name(name), annotation):
            yield name, ast.unparse(annotation)
        case ast.Assign([ast.Name(name)], value):
            yield name, value
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if all(
            isinstance(target, ast.Name) for target in targets
        ) and len(targets) == len(values):
            yield from zip(map(dotted, targets), values, strict=True)
        case ast.Assign([target], _) | ast.For(target) | ast.withitem(_, ast.expr() as target):
            for part in ast.walk(target):
                yield dotted(part) if isinstance(part, ast.expr) else "", UNKNOWN
        case ast.FunctionDef(name):
            yield name, UNKNOWN
