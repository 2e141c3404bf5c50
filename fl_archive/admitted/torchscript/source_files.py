"""What a source file of the code may hold: classes, functions and their statements."""

import ast
from collections.abc import Iterator, Sequence

from . import words
from .declarations import Declarations
from .expressions import Expressions
from .guards import Guards
from .static_types import StaticTypes, bindings
from .words import Denied


class SourceFile(Expressions):
    """One source file, `code/__torch__/a/b.py`, which defines `__torch__.a.b.…`."""

    def __init__(self, declarations: Declarations, name: str, text: str) -> None:
        super().__init__(declarations, name)
        match = words.SOURCE_PATH.fullmatch(name)
        self.space = match[1].replace("/", ".") if match else ""
        self.fields: dict[str, str] = {}  # of the class that is being read: name → type
        if not match or any(words.starts(self.space, taken) for taken in words.TAKEN):
            raise Denied(f"{name!r} is no place for a model's code.")

        if stray := words.stray(text):
            raise Denied(f"{self.name} holds {stray!r}, which torch.jit.save doesn't write there.")
        self.text = text
        self.nodes = ast.parse(text).body
        for node in self.nodes:
            if isinstance(node, ast.ClassDef):
                self._add_class(node)

    def check(self) -> None:
        """Go through the whole file, once the classes of all members are known."""
        for node in self.nodes:
            self.definition = f"{self.space}.{getattr(node, 'name', '')}"
            self.declarations.references.setdefault(self.definition, set())
            match node:
                case ast.ClassDef():
                    self._check_class(node)
                case ast.FunctionDef():
                    self.declarations.defined[f"{self.space}.{node.name}"] = set()
                    self._check_function(node)
                case _:
                    raise self.denied(node, "stands outside of classes and functions")

    def edited(self) -> str:
        """The text with the edits that checking it has called for."""
        lines = self.text.split("\n")
        places = {(node.lineno, node.col_offset): (node, text) for node, text in self.edits}
        for _, (node, text) in sorted(places.items())[::-1]:
            first, last = node.lineno - 1, (node.end_lineno or 0) - 1
            before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
            lines[first : last + 1] = [before + text + after]
        return "\n".join(lines)

    # --- classes -------------------------------------------------------------------------
    def _add_class(self, node: ast.ClassDef) -> None:
        path = f"{self.space}.{node.name}"
        if path in self.declarations.bases:
            raise self.denied(node, "is there twice")
        self.declarations.bases[path] = [ast.unparse(base) for base in node.bases]
        self.declarations.fields[path] = dict(_attribute_types(node))

    def _check_class(self, node: ast.ClassDef) -> None:
        bases = [base.id if isinstance(base, ast.Name) else "" for base in node.bases]
        if len(bases) > 1 or not words.BASES.issuperset(bases) or node.keywords:
            raise self.denied(node, "inherits from something that torch.jit.save doesn't write")
        if node.decorator_list:
            raise self.denied(node, "has a decorator")
        names = self.declarations.defined[f"{self.space}.{node.name}"] = {"__new__"}
        self.fields = self.declarations.fields[f"{self.space}.{node.name}"]
        for statement in node.body:
            if isinstance(statement, ast.Assign) and bases == ["Enum"]:
                names.add(self._check_enum_member(statement))
            else:
                self._check_class_statement(statement)
        if any(f"{name}()" in self.fields for name in self.fields):
            raise self.denied(node, "has an attribute and a method of one name")

    def _check_class_statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef(name):
                self.declarations.declared.add(name)
                self._check_function(node, method=True)
            case ast.AnnAssign(ast.Name(name), annotation, value):
                self._declare(name, annotation)
                if value:
                    self.check_literal(value)
            case ast.Assign([ast.Subscript(ast.Name("__annotations__"), key)], annotation):
                self._declare(words.plain_text(key), annotation)
            case ast.Assign([ast.Name("__annotations__")], ast.List([])):
                pass
            case ast.Assign([ast.Name(name)], ast.List() as names) if name in words.NAME_LISTS:
                self.check_literal(names)
            case ast.Pass():
                pass
            case _:
                raise self.denied(node, "is not admitted in a class")

    def _declare(self, name: str, annotation: ast.expr) -> None:
        self.check_type(annotation)
        if name == words.REPLACED:
            raise self.denied(annotation, "has another type in quantized modules; rename it")
        self.declarations.declared.add(name)

    def _check_enum_member(self, node: ast.Assign) -> str:
        match node:
            case ast.Assign([ast.Name(name)], value):
                self.check_literal(value)
                return name
        raise self.denied(node, "is not admitted in an Enum")

    # --- functions -----------------------------------------------------------------------
    def _check_function(self, node: ast.FunctionDef, *, method: bool = False) -> None:
        arguments = node.args
        if node.name in words.AT_LOAD:
            raise self.denied(node, "would run when the model is loaded; save it without")
        if arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
            raise self.denied(node, "has arguments that torch.jit.save doesn't write")
        if node.decorator_list:
            raise self.denied(node, "has a decorator")
        for annotation in (*(argument.annotation for argument in arguments.args), node.returns):
            if annotation:
                self.check_type(annotation)
        for default in arguments.defaults:
            self.check_literal(default)
        self._check_body(node, method=method)

    def _check_body(self, node: ast.FunctionDef, *, method: bool) -> None:
        arguments = [argument.arg for argument in node.args.args]
        stored = {*arguments, *words.stored_names(node)}
        if taken := stored & words.RESERVED:
            raise self.denied(node, f"gives another meaning to {min(taken)!r}")
        outer = self.bound, self.receiver, self.guards
        self.bound |= stored
        if method and arguments and arguments[0] not in set(words.stored_names(node)):
            self.receiver = arguments[0]
        fields = {f"{self.receiver}.{name}": type_ for name, type_ in self.fields.items()}
        known = fields if self.receiver else {}
        static = StaticTypes(node, known, self.guards.static, self.declarations.fields)
        self.guards = Guards(static, self.declarations.bases)
        self._check_block(node.body)
        self.bound, self.receiver, self.guards = outer

    def _check_block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self._check_statement(statement)

    def _check_statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign([target], value):
                self._check_target(target)
                self.check_value(value)
                self.guards.assign(node)
            case ast.AnnAssign(ast.Name(), annotation, ast.expr() as value):
                self.check_type(annotation)
                self.check_value(value)
                self.guards.assign(node)
            case ast.Expr(value) | ast.Return(ast.expr() as value):
                self.check_value(value)
            case ast.FunctionDef():
                self._check_function(node)
                self.guards.assign(node)
            case ast.Pass():
                pass
            case ast.If(test, body, orelse):
                self.check_value(test)
                self._check_branches(test, body, orelse)
            case _:
                self._check_compound(node)

    def _check_branches(
        self, test: ast.expr, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt]
    ) -> None:
        before = self.guards
        self.guards = before.when(test, holds=True)
        self._check_block(body)
        after = self.guards
        self.guards = before.when(test, holds=False)
        self._check_block(orelse)
        self.guards = after.joined(self.guards)

    def _check_compound(self, node: ast.stmt) -> None:
        """Check a loop or a `with`.

        What is known of variables that it assigns is dropped before, because a loop comes back.
        """
        self.guards.forget(name for part in ast.walk(node) for name, _ in bindings(part))
        before = self.guards
        self.guards = before.copy()
        match node:
            case ast.While(test, body, []):
                self.check_value(test)
                self._check_block(body)
            case ast.For(target, iterable, body, []):
                self._check_target(target)
                self.check_value(iterable)
                self._check_block(body)
            case ast.With([ast.withitem(value, None | ast.Name())], body):
                self.check_value(value)
                self._check_block(body)
            case _:
                raise self.denied(node, "is not written by torch.jit.save")
        self.guards = before

    def _check_target(self, node: ast.expr) -> None:
        match node:
            case ast.Tuple(items):
                for item in items:
                    self._check_target(item)
            case ast.Attribute():
                self.check_value(node)
            case ast.Name():
                pass
            case _:
                raise self.denied(node, "can't be assigned to")


def _attribute_types(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The class's attributes with their types; `name()` of a method, with what it returns."""
    for part in node.body:
        match part:
            case ast.FunctionDef(name, returns=ast.expr() as type_):
                yield f"{name}()", ast.unparse(type_)
            case ast.AnnAssign(ast.Name(name), type_):
                yield name, ast.unparse(type_)
            case ast.Assign([ast.Subscript(ast.Name("__annotations__"), key)], type_):
                yield words.plain_text(key), ast.unparse(type_)
