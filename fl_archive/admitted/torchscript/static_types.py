"""What can be seen of the types of a function's variables."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from .words import dotted

UNKNOWN = "?"
MAX_DEPTH = 8  # lists in lists, attributes of attributes; it also ends `x = x[0]`
Binding = str | ast.expr  # a type as it is written, or the value that is assigned


class StaticTypes:
    """Every type that a variable may have had by one of its bindings, whichever came last."""

    def __init__(
        self,
        function: ast.FunctionDef | None = None,
        fields: Mapping[str, str] = MappingProxyType({}),
        outer: "StaticTypes | None" = None,
        classes: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self.fields = fields  # `self.weight` → its type, `self.norm()` → what the method returns
        self.classes = classes  # the same of every class of the archive, without `self.`
        self.bindings: dict[str, set[Binding]] = defaultdict(set)
        for name, known in outer.bindings.items() if outer else ():
            self.bindings[name] |= known
        for node in ast.walk(function) if function else ():
            for name, binding in bindings(node):
                self.bindings[name].add(binding)

    def of(self, value: ast.expr, depth: int = 0) -> set[str]:
        """The types as they are written; UNKNOWN among them where one can't be seen."""
        types: set[str] = set()
        seen: set[str] = set()
        todo: list[Binding] = [value]
        while todo:
            match todo.pop():
                case str(type_):
                    types.add(type_)
                case ast.Name(name):
                    if name not in seen:
                        seen.add(name)
                        todo += self.bindings.get(name, [UNKNOWN])
                case ast.Subscript(whole, index) if depth < MAX_DEPTH:
                    types |= {item(type_, index) for type_ in self.of(whole, depth + 1)}
                case ast.Tuple(items) if depth < MAX_DEPTH:
                    parts = [self.of(one, depth + 1) for one in items]
                    plain = all(len(part) == 1 for part in parts) and {UNKNOWN} not in parts
                    types.add(f"Tuple[{', '.join(min(p) for p in parts)}]" if plain else UNKNOWN)
                case ast.Attribute(owner, name) as value if depth < MAX_DEPTH:
                    types |= self._attribute(value, owner, name, depth)
                case ast.Call(ast.Name("getattr"), [owner, ast.Constant(str(name))]) as value:
                    types |= self._attribute(value, owner, name, depth)
                case ast.Call(ast.Attribute(owner, name) as value) if depth < MAX_DEPTH:
                    types |= self._attribute(value, owner, f"{name}()", depth)
                case binding:
                    types.add(self._type(binding))
        return types or {UNKNOWN}

    def _attribute(self, value: ast.expr, owner: ast.expr, name: str, depth: int) -> set[str]:
        """What its class declares, or that of its owner, where that is known."""
        path = dotted(value) + ("()" if name.endswith("()") else "")
        if path in self.fields:
            return {self.fields[path]}
        if depth >= MAX_DEPTH:
            return {UNKNOWN}
        owners = self.of(owner, depth + 1)
        return {self.classes.get(type_, {}).get(name, UNKNOWN) for type_ in owners}

    def _type(self, value: ast.expr) -> str:
        match value:
            case ast.Constant(None):
                return "NoneType"
            case ast.Call(ast.Name("annotate" | "unchecked_cast" | "uninitialized"), [type_, *_]):
                return ast.unparse(type_)
        return UNKNOWN


def item(type_: str, index: ast.expr) -> str:
    """The type of what lies at this index of a list, dict or tuple."""
    whole = None if type_ == UNKNOWN else ast.parse(type_, mode="eval").body
    match whole, index:
        case ast.Subscript(ast.Name("List"), inner), ast.expr() if not isinstance(index, ast.Slice):
            return ast.unparse(inner)
        case ast.Subscript(ast.Name("Dict"), ast.Tuple([_, inner])), ast.expr():
            return ast.unparse(inner)
        case ast.Subscript(ast.Name("Tuple"), ast.Tuple(items)), ast.Constant(int(place)):
            return ast.unparse(items[place]) if 0 <= place < len(items) else UNKNOWN
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
        case ast.Assign([ast.Tuple(targets)], value) if all(
            isinstance(target, ast.Name) for target in targets
        ) and not isinstance(value, ast.Tuple):
            for place, target in enumerate(targets):
                yield dotted(target), ast.Subscript(value, ast.Constant(place), ast.Load())
        case ast.Assign([target], _) | ast.For(target) | ast.withitem(_, ast.expr() as target):
            for part in ast.walk(target):
                yield dotted(part) if isinstance(part, ast.expr) else "", UNKNOWN
        case ast.FunctionDef(name):
            yield name, UNKNOWN
