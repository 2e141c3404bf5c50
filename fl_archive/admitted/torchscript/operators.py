"""Checks to write into the calls of operators that don't check their arguments themselves."""

import ast
from collections.abc import Collection, Iterator

from . import words
from .words import dotted

Edit = tuple[ast.expr, str]
"""A part of the code, and the text that has to stand in its place."""


class Unfit(Exception):
    """A part of the call can't be admitted, for this reason."""

    def __init__(self, node: ast.expr, why: str) -> None:
        super().__init__(why)
        self.node = node


def edits(node: ast.Call, path: str) -> Iterator[Edit]:
    """What to change in the call of an operator. Raises `Unfit`."""
    _check_names(node, path)
    yield from _dtypes(node, path)
    if path in words.DIVISIONS:
        yield from _divisor(node, path)
    elif path == "torch.to":
        _check_copy(node)
    elif path in words.LAYERS:
        yield _layer(node, path.removeprefix("torch."))


def is_guarded(node: ast.expr) -> bool:
    """Whether it is a number under a guard: as it is put there here, or saved by torch."""
    match node:
        case ast.IfExp(orelse=number):
            return ast.unparse(node) in _guards(ast.unparse(number))
        case ast.Call(ast.Attribute() as func):
            return dotted(func) in (f"{words.CHECKED}.divisor", f"{words.CHECKED}.dtype")
    return False


def _guards(number: str) -> Collection[str]:
    return [
        _guarded(guard, number, tensors=tensors)
        for guard in ("divisor", "dtype")
        for tensors in (False, True)
    ]


def _guarded(guard: str, number: str, *, tensors: bool) -> str:
    """Check the number if it is an integer; torch compiles only the branch for its type.

    A bool counts as one, because torch makes an integer of it; so does a tensor (`tensors`) where
    the operator takes none.
    """
    types = "(int, bool, Tensor)" if tensors else "(int, bool)"
    checked = f"{words.CHECKED}.{guard}(int({number}))"
    return f"{checked} if isinstance({number}, {types}) else {number}"


def _guard(value: ast.expr, guard: str, *, tensors: bool) -> Iterator[Edit]:
    if is_guarded(value):
        return
    if not _is_repeatable(value):
        raise Unfit(value, f"is a {guard} that can't be checked; make it a variable")
    yield value, f"({_guarded(guard, ast.unparse(value), tensors=tensors)})"


def _check_names(node: ast.Call, path: str) -> None:
    given = {str(keyword.arg): keyword.value for keyword in node.keywords}
    if path == "torch.zeros" and "memory_format" in given:
        raise Unfit(node, "would need torch.empty; use torch.zeros")
    if given.keys() & words.OUTPUTS and path != words.WRITES:
        raise Unfit(node, "writes into an argument (out=); use what is returned")
    formats = [*_at(node, words.FORMATS.get(path, ())), given.get("memory_format")]
    if not all(_is_written(value, range(4)) for value in formats if value):
        raise Unfit(node, "has a memory format that is not written out")
    if "layout" in given and not _is_written(given["layout"], [0]):
        raise Unfit(node, "has a layout that is not written out, or not strided")


def _dtypes(node: ast.Call, path: str) -> Iterator[Edit]:
    named = [key.value for key in node.keywords if key.arg in ("dtype", "out_dtype")]
    for value in [*named, *_at(node, words.DTYPES.get(path, ()))]:
        if not _is_written(value, words.KNOWN_DTYPES) and not _is_no_number(value):
            other = path == "torch.to" and value is node.args[1]  # may be a tensor to be like
            yield from _guard(value, "dtype", tensors=not other)


def _divisor(node: ast.Call, path: str) -> Iterator[Edit]:
    if len(node.args) != 2 or node.keywords:
        raise Unfit(node, "divides in a way that torch.jit.save doesn't write")
    divisor = node.args[1]
    if not isinstance(divisor, ast.Constant) or not divisor.value:
        yield from _guard(divisor, "divisor", tensors=path != "torch.remainder")


def _check_copy(node: ast.Call) -> None:
    """torch.to takes any dtype if it shall copy, but to no dtype and no device."""
    for target in node.args[1:2]:
        if _is_no_number(target) or getattr(target, "value", None) in words.KNOWN_DTYPES:
            return
    flags = [*node.args[3:], *(key.value for key in node.keywords if key.arg == "copy")]
    if not all(isinstance(flag, ast.Constant) and flag.value is not True for flag in flags):
        raise Unfit(node, "copies to a dtype that isn't written out; use torch.clone")


def _layer(node: ast.Call, name: str) -> Edit:
    """Two operators have the name; that for packed sequences takes one more argument in front."""
    match [isinstance(value, ast.Constant) for value in node.args]:
        case [_, _, _, True, *_]:
            return node.func, f"{words.CHECKED}.lstm" if name == "lstm" else f"torch.{name}"
        case [_, _, _, False, True, *_]:
            return node.func, f"{words.CHECKED}.{name}_packed"
    raise Unfit(node, "doesn't say whether it has biases; use torch.jit.trace")


def _at(node: ast.Call, places: Collection[int]) -> list[ast.expr]:
    return [node.args[place] for place in places if place < len(node.args)]


def _is_written(node: ast.expr, numbers: Collection[int]) -> bool:
    """Whether it is written out: one of these numbers, or something that is no number."""
    if not isinstance(node, ast.Constant):
        return False
    return node.value is None or isinstance(node.value, bool | str) or node.value in numbers


def _is_no_number(node: ast.expr) -> bool:
    """Whether it is another tensor's dtype, or a list, or a device."""
    called = isinstance(node, ast.Call) and dotted(node.func) in words.NO_ENUM
    return called or isinstance(node, ast.List)


def _is_repeatable(node: ast.expr) -> bool:
    """Whether a number can be written twice: computing it changes nothing."""
    parts = list(ast.walk(node))
    calls = {dotted(part.func) for part in parts if isinstance(part, ast.Call)}
    return calls <= words.REPEATABLE and not any(isinstance(part, ast.IfExp) for part in parts)
