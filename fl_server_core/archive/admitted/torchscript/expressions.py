"""What a value, a call or a type in the code may be."""

import ast
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from . import words
from .guards import Guards, is_open, is_sized
from .kinds import Kinds
from .words import Denied, dotted

MAX_DEPTH = 100
"""Torch resolves types and functions by recursion: 3,000 in each other overflow a stack of 8 MiB,
1,000 don't. Models of seven libraries have 13 at most."""
MAX_DEFINITIONS = 10_000
"""Those have 1,213 at most."""


class Archive:
    """What the members declare together, and what of it they use, checked when all are read."""

    def __init__(self) -> None:
        self.operators = words.listed("operators.txt")
        self.withheld = words.listed("withheld.txt") | words.GUARDED
        self.declared = set(words.OF_ANY_VALUE)
        self.bases: dict[str, list[str]] = {}
        self.defined: dict[str, set[str]] = {words.CHECKED: set(words.checked())}
        self.fields: dict[str, dict[str, str]] = {}  # of each class: name → type
        self.attributes: dict[str, str] = {}
        self.paths: dict[str, str] = {}
        self.references: dict[str, set[str]] = {}  # what each class or function names
        self.blind = ""  # where a cast may hide a tuple or an object, unseen
        self.guarded = ""  # where a cast is right if no other hides one

    def check_uses(self) -> None:
        """Deny what no member declares."""
        for name, where in self.attributes.items():
            if name not in self.declared:
                raise Denied(f"{where}: no class of the model declares {name!r}.")
        for path, where in self.paths.items():
            owner, _, member = path.rpartition(".")
            if path not in self.defined and member not in self.defined.get(owner, ()):
                raise Denied(f"{where}: {path!r} is not defined in the model.")
        if len(self.references) > MAX_DEFINITIONS or depth(self.references) > MAX_DEPTH:
            raise Denied("its classes and functions are nested too deeply, or too many.")
        if self.blind and self.guarded:
            raise Denied(
                f"{self.guarded}: casts a value that could be one hidden at {self.blind}; "
                "use torch.jit.trace."
            )


def depth(references: Mapping[str, Collection[str]]) -> int:
    """How many definitions stand on each other; those that need each other count one by one."""
    waiting = {
        name: {other for path in paths for other in (path, path.rpartition(".")[0])}
        & references.keys() - {name}
        for name, paths in references.items()
    }
    levels = 0
    while (
        ready := {name for name, others in waiting.items() if not others}
    ) and levels < MAX_DEPTH:
        levels += 1
        waiting = {name: others - ready for name, others in waiting.items() if name not in ready}
    return levels + len(waiting)


def is_constant(node: ast.expr, numbers: Collection[int]) -> bool:
    """Whether it is written out: one of these numbers, or something that is no number."""
    if not isinstance(node, ast.Constant):
        return False
    return node.value is None or isinstance(node.value, bool | str) or node.value in numbers


def is_of_another(node: ast.expr) -> bool:
    """Whether it is another tensor's dtype, or a list, or a device, which is no number."""
    if isinstance(node, ast.List):
        return True
    return isinstance(node, ast.Call) and dotted(node.func) in words.NO_ENUM


def guarded(guard: str, number: str) -> str:
    """What stands for a number: of the two, torch compiles the one for its type."""
    return f"{words.CHECKED}.{guard}({number}) if isinstance({number}, int) else {number}"


def is_repeatable(node: ast.expr) -> bool:
    """Whether a number can be written twice: computing it changes nothing."""
    parts = list(ast.walk(node))
    calls = {dotted(part.func) for part in parts if isinstance(part, ast.Call)}
    return calls <= words.REPEATABLE and not any(isinstance(part, ast.IfExp) for part in parts)


def is_guarded(node: ast.expr, guard: str) -> bool:
    """Whether it is a number under this guard: as it is put around it here, or saved by torch."""
    match node:
        case ast.IfExp(orelse=number):
            return ast.unparse(node) == guarded(guard, ast.unparse(number))
        case ast.Call(ast.Attribute() as func):
            return dotted(func) == f"{words.CHECKED}.{guard}"
    return False


class Expressions:
    """Checks expressions in the scope of the function that is being read."""

    def __init__(self, archive: Archive, name: str) -> None:
        self.archive = archive
        self.name = name
        self.definition = ""  # the class or function of the archive that is being read
        self.bound: frozenset[str] = frozenset()
        self.receiver = ""  # what a method calls its own object
        self.guards = Guards(Kinds(), archive.bases)
        self.edits: list[tuple[ast.expr, str]] = []  # what isn't kept as it stands, and what is

    def denied(self, node: ast.AST, why: str) -> Denied:
        """The exception to raise, with the place and a piece of the code."""
        line = getattr(node, "lineno", 0)
        return Denied(f"{self.name}, line {line}: {ast.unparse(node)[:80]!r} {why}.")

    def check_value(self, node: ast.expr) -> None:
        """Values that need no look at what they are made of; others go on."""
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
            case ast.IfExp() if any(is_guarded(node, guard) for guard in words.GUARDS):
                self.check_value(node.orelse)
            case _:
                self.check_values(self._parts(node))

    def check_values(self, nodes: Iterable[ast.expr | None]) -> None:
        """Each of them; None is a bound that a slice leaves out."""
        for node in nodes:
            if node:
                self.check_value(node)

    def check_literal(self, node: ast.expr) -> None:
        """What is computed while the model is loaded: defaults and constants."""
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
        if name in self.archive.withheld and not own and not self._is_object(value):
            raise self.denied(node, f"may mean the operator {name!r}; rename the attribute")
        self.archive.attributes.setdefault(name, f"{self.name}, line {node.lineno}")

    def _is_object(self, value: ast.expr) -> bool:
        return self.guards.kinds.of(value) <= self.archive.bases.keys()

    def _use_path(self, node: ast.expr) -> None:
        path = dotted(node)
        if not words.starts(path, "__torch__") or words.starts(path, words.BOUND_IN_C):
            raise self.denied(node, "is not defined in the model")
        self.archive.references[self.definition].add(path)
        self.archive.paths.setdefault(path, f"{self.name}, line {node.lineno}")

    def _check_call(self, node: ast.Call) -> None:
        path = dotted(node.func)
        if path in words.FORMS and not node.keywords:
            self._check_form(node)
        elif node.keywords and not words.starts(path, "torch"):
            raise self.denied(node, "passes by name what torch.jit.save doesn't")
        elif path in words.PLAIN | self.bound:
            self.check_arguments(node)
        elif words.starts(path, "torch") or words.starts(path, "ops"):
            if words.RENAMED.get(path, path) not in self.archive.operators:
                raise self.denied(node.func, "is an operator that is not admitted")
            self._check_keywords(node, path)
            self.check_arguments(node)
            self._check_numbers(node, path)
            if path == "torch.to":
                self._check_copy(node)
            elif path == "torch.lstm":
                self._check_lstm(node)
        elif isinstance(node.func, ast.Attribute):
            self._check_attribute(node.func)
            self.check_arguments(node)
        else:
            raise self.denied(node, "calls something that is not admitted")

    def _check_keywords(self, node: ast.Call, path: str) -> None:
        given = {str(keyword.arg): keyword.value for keyword in node.keywords}
        if path == "torch.zeros" and "memory_format" in given:
            raise self.denied(node, "would need torch.empty; use torch.zeros")
        if given.keys() & words.OUTPUTS and path != words.WRITES:
            raise self.denied(node, "writes into an argument (out=); use what is returned")
        formats = [
            node.args[place] for place in words.FORMATS.get(path, ()) if place < len(node.args)
        ]
        formats += [given[name] for name in ("layout", "memory_format") if name in given]
        if not all(is_constant(value, range(4)) for value in formats):
            raise self.denied(node, "has a layout or memory format that is not written out")

    def _check_numbers(self, node: ast.Call, path: str) -> None:
        """Put guards around the integers that torch believes without a look."""
        named = [key.value for key in node.keywords if key.arg in ("dtype", "out_dtype")]
        places = words.DTYPES.get(path, ())
        for value in [*named, *(node.args[place] for place in places if place < len(node.args))]:
            if not is_constant(value, words.KNOWN_DTYPES) and not is_of_another(value):
                self._guard(value, "dtype")
        if path in words.DIVISIONS:
            if len(node.args) != 2 or node.keywords:
                raise self.denied(node, "divides in a way that torch.jit.save doesn't write")
            if not isinstance(divisor := node.args[1], ast.Constant) or not divisor.value:
                self._guard(divisor, "divisor")

    def _guard(self, value: ast.expr, guard: str) -> None:
        if is_guarded(value, guard):
            return
        if not is_repeatable(value):
            raise self.denied(value, f"is a {guard} that can't be checked; make it a variable")
        self.edits.append((value, f"({guarded(guard, ast.unparse(value))})"))

    def _check_copy(self, node: ast.Call) -> None:
        """torch.to takes any dtype if it shall copy, but to no dtype and no device."""
        for target in node.args[1:2]:
            if is_of_another(target) or getattr(target, "value", None) in words.KNOWN_DTYPES:
                return
        flags = [*node.args[3:], *(key.value for key in node.keywords if key.arg == "copy")]
        if not all(isinstance(flag, ast.Constant) and flag.value is not True for flag in flags):
            raise self.denied(node, "copies to a dtype that isn't written out; use torch.clone")

    def _check_lstm(self, node: ast.Call) -> None:
        """Two operators have the name: that for packed sequences has one argument more before."""
        match [isinstance(value, ast.Constant) for value in node.args]:
            case [_, _, _, True, *_]:
                self.edits.append((node.func, f"{words.CHECKED}.lstm"))
            case [_, _, _, False, True, *_]:
                self.edits.append((node.func, f"{words.CHECKED}.lstm_packed"))
            case _:
                raise self.denied(node, "doesn't say whether it has biases; use torch.jit.trace")

    def _check_form(self, node: ast.Call) -> None:
        """The calls that take a type or an attribute's name."""
        match node.func, node.args:
            case ast.Name("getattr"), [value, name] if text := words.plain_text(name):
                self._use_attribute(node, value, text)
            case ast.Name("uninitialized"), [kind]:
                self.check_type(kind)
            case ast.Name("annotate"), [kind, value]:
                self.check_type(kind)
                self.check_value(value)
            case ast.Name("unchecked_cast"), [kind, value]:
                self._check_cast(node, kind, value)
            case ast.Name("isinstance"), [value, kinds]:
                self.check_value(value)
                for kind in kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]:
                    if dotted(kind) not in ("list", "tuple"):
                        self.check_type(kind)
            case _:
                raise self.denied(node, "is not written by torch.jit.save")

    def _check_cast(self, node: ast.Call, kind: ast.expr, value: ast.expr) -> None:
        """A cast that torch believes: of tuples and objects it doesn't even check the size.

        A cast to something else could hide one from the `isinstance` that another cast relies on.
        """
        self.check_type(kind)
        self.check_value(value)
        others = self.guards.others(kind, value)
        where = f"{self.name}, line {node.lineno}"
        if not is_sized(ast.unparse(kind)):
            if any(map(is_open, others)):
                self.archive.blind = where
        elif others:
            raise self.denied(
                node, "casts a value whose type can't be seen; ask by isinstance in an if"
            )
        elif Guards(self.guards.kinds, self.archive.bases).others(kind, value):
            self.archive.guarded = where
