"""Casts, which torch believes, and the `isinstance` that must stand before them."""

import textwrap
import warnings
from typing import Any, Optional, Union

import pytest
import torch
from admitted_models import code_of, saved
from torch import Tensor, nn

from fl_archive.admitted.torchscript import child

Pair = tuple[Tensor, Tensor]
Either = Union[Tensor, Pair]  # noqa: UP007 - torch.jit knows this spelling
Maybe = Optional[Either]  # noqa: UP045


class Branches(nn.Module):
    def forward(self, x: Either) -> Tensor:
        if isinstance(x, Tensor):
            return x
        return x[0] + x[1]


class Doubled(nn.Module):
    """As graph convolutions do."""

    def forward(self, x: Either, size: Optional[tuple[int, int]] = None) -> Tensor:  # noqa: UP045
        if isinstance(x, Tensor):
            x = (x, x)
        if size is not None and size[0] > 1:
            return x[0]
        return x[1]


class Negated(nn.Module):
    def forward(self, x: Either) -> Tensor:
        if not isinstance(x, Tensor):
            x = x[0]
        return x


class Three(nn.Module):
    def forward(self, x: Union[Tensor, Pair, list[Tensor], None]) -> Tensor:  # noqa: UP007
        if x is None:
            return torch.zeros(1)
        if isinstance(x, Tensor):
            return x
        if isinstance(x, tuple):
            return x[1]
        return x[0]


class Both(nn.Module):
    def forward(self, x: Either, y: Either) -> Tensor:
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            return x + y
        if isinstance(x, tuple) and isinstance(y, tuple):
            return x[0] + y[1]
        return torch.zeros(1)


class Whatever(nn.Module):
    def forward(self, x: Any) -> Tensor:
        if isinstance(x, Tensor):
            return x
        assert isinstance(x, tuple[Tensor, Tensor])
        return x[0]


class Looped(nn.Module):
    def forward(self, xs: list[Either]) -> Tensor:
        total = torch.zeros(1)
        for x in xs:
            y = x if isinstance(x, Tensor) else x[0]
            total = total + y
        return total


class Looked(nn.Module):
    def forward(self, table: dict[str, Maybe]) -> Tensor:
        x = table["x"]
        if isinstance(x, tuple):
            return x[0]
        return torch.zeros(1)


class Kept(nn.Module):
    """Called with a result of its own method, in a branch behind another."""

    def both(self, x: Either) -> Pair:
        return (x, x) if isinstance(x, Tensor) else x

    def forward(self, x: Either, flag: bool) -> Tensor:
        if flag:
            y = self.both(x)
        elif isinstance(x, Tensor):
            y = (x, x)
        else:
            y = x
        return y[0] * y[1]


OptionalPair = tuple[Tensor, Optional[Tensor]]  # noqa: UP045


class Convolution(nn.Module):
    """Of a graph whose nodes are of one kind or of two."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

    def propagate(self, x: OptionalPair, size: Optional[tuple[int, int]]) -> OptionalPair:  # noqa: UP045
        return (x[0], x[1] if size is None else None)

    def forward(self, x: Union[Tensor, OptionalPair], size: Optional[tuple[int, int]] = None):  # noqa: UP007,UP045
        if isinstance(x, Tensor):
            x = (x, x)
        out, rest = self.propagate(x, size)
        out = self.left(out)
        node = x[1]
        if node is not None:
            out = out + self.right(node)
        if rest is not None:
            out = out + rest
        return out


MODULES = (Branches, Doubled, Negated, Three, Both, Whatever, Looped, Looked, Kept, Convolution)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_torch_prints_for_guards_passes(module):
    with warnings.catch_warnings(action="ignore"):
        code = code_of(saved(torch.jit.script(module())))
    assert isinstance(child.check({name: source.decode() for name, source in code.items()}), dict)


PAIR = "Tuple[Tensor, Tensor]"
UNION = f"Union[Tensor, {PAIR}, Tuple[int]]"


def sentence(body, argument=UNION, more=""):
    """That of the refusal, or none."""
    lines = textwrap.indent(textwrap.dedent(body).strip(), "  ")
    source = f"def f(x: {argument},\n    y: {argument},\n    z: bool) -> int:\n{lines}\n{more}"
    answer = child.check({"code/__torch__/m.py": source})
    return answer if isinstance(answer, str) else ""


GUARD = f"_0 = isinstance(x, {PAIR})\n"
CAST = f"unchecked_cast({PAIR}, x)"


@pytest.mark.parametrize(
    "body",
    [
        f"{GUARD}if _0:\n  a, b, = {CAST}",
        f"if isinstance(x, {PAIR}):\n  a, b, = {CAST}",
        f"{GUARD}if torch.__not__(_0):\n  pass\nelse:\n  a, b, = {CAST}",
        f"{GUARD}if z:\n  if _0:\n    a, b, = {CAST}",
        f"_0 = isinstance(x, (Tensor, Tuple[int]))\nif _0:\n  pass\nelse:\n  a, b, = {CAST}",
        f"while z:\n  {GUARD}  if _0:\n    a, b, = {CAST}",
        f"{GUARD}if _0:\n  c = x\n  a, b, = unchecked_cast({PAIR}, c)",
        f"{GUARD}if z:\n  _1 = _0\nelse:\n  _1 = False\nif _1:\n  a, b, = {CAST}",
        f"{GUARD}if _0:\n  _1, x = True, x\nelse:\n  _1, x = False, y\nif _1:\n  a, b, = {CAST}",
    ],
)
def test_a_cast_behind_its_guard_passes(body):
    assert sentence(body) == ""


@pytest.mark.parametrize(
    "body",
    [
        # no guard, or that of another variable or type
        f"a, b, = {CAST}",
        f"{GUARD}a, b, = {CAST}",
        f"_0 = isinstance(y, {PAIR})\nif _0:\n  a, b, = {CAST}",
        f"_0 = isinstance(x, Tensor)\nif _0:\n  a, b, = {CAST}",
        f"_0 = isinstance(x, Tuple[int])\nif _0:\n  a, b, = {CAST}",
        f"_0 = isinstance(x, (Tensor, {PAIR}))\nif _0:\n  a, b, = {CAST}",
        f"_0 = isinstance(x, tuple)\nif _0:\n  a, b, = {CAST}",
        f"_0 = isinstance(x, Tensor)\nif _0:\n  pass\nelse:\n  a, b, = {CAST}",
        f"_0 = isinstance(x, list)\nif _0:\n  pass\nelse:\n  a, b, = {CAST}",
        # the wrong branch, and behind both
        f"{GUARD}if _0:\n  pass\nelse:\n  a, b, = {CAST}",
        f"{GUARD}if torch.__not__(_0):\n  a, b, = {CAST}",
        f"{GUARD}if torch.__not__(torch.__not__(_0)):\n  pass\nelse:\n  a, b, = {CAST}",
        f"{GUARD}if _0:\n  pass\na, b, = {CAST}",
        f"{GUARD}if _0:\n  pass\nelse:\n  return 1\na, b, = {CAST}",
        f"_0 = isinstance(x, Tensor)\nif _0:\n  return 1\na, b, = {CAST}",
        # another value since
        f"{GUARD}x = y\nif _0:\n  a, b, = {CAST}",
        f"{GUARD}if _0:\n  x = y\n  a, b, = {CAST}",
        f"{GUARD}if _0:\n  if z:\n    x = y\n  a, b, = {CAST}",
        f"{GUARD}if _0:\n  c, x = z, y\n  a, b, = {CAST}",
        f"_0, x = isinstance(x, {PAIR}), y\nif _0:\n  a, b, = {CAST}",
        f"c = x\n_0 = isinstance(c, {PAIR})\nif _0:\n  a, b, = {CAST}",
        # another flag since
        f"{GUARD}_0 = z\nif _0:\n  a, b, = {CAST}",
        f"{GUARD}_0 = isinstance(y, {PAIR})\nif _0:\n  a, b, = {CAST}",
        f"{GUARD}if z:\n  _0 = True\nif _0:\n  a, b, = {CAST}",
        f"{GUARD}if z:\n  _1 = _0\nelse:\n  _1 = True\nif _1:\n  a, b, = {CAST}",
        f"{GUARD}if z:\n  _1 = _0\nelse:\n  _1 = False\nif _1:\n  pass\nelse:\n  a, b, = {CAST}",
        f"{GUARD}_0: bool = z\nif _0:\n  a, b, = {CAST}",
        # loops, which come round with other values
        f"{GUARD}while z:\n  if _0:\n    a, b, = {CAST}\n  x = y",
        f"{GUARD}for i in range(9):\n  if _0:\n    a, b, = {CAST}\n  x = y",
        f"{GUARD}if _0:\n  while z:\n    a, b, = {CAST}\n    x = y",
        f"{GUARD}if _0:\n  while z:\n    x = y\n  a, b, = {CAST}",
        f"{GUARD}while z:\n  if _0:\n    a, b, = {CAST}\n  _0 = z",
        f"{GUARD}while _0:\n  a, b, = {CAST}",
        f"{GUARD}if _0:\n  for x in y:\n    a, b, = {CAST}",
        f"{GUARD}if _0:\n  with y as x:\n    a, b, = {CAST}",
        # values that come from nowhere, or only out of each other
        f"c = d\nd = c\na, b, = unchecked_cast({PAIR}, c)",
        f"c = c[0]\na, b, = unchecked_cast({PAIR}, c)",
        # a function that runs later
        f"{GUARD}if _0:\n  def g(y: int):\n    a, b, = {CAST}\n  x = y",
        f"{GUARD}if _0:\n  def x(y: int):\n    pass\n  a, b, = {CAST}",
    ],
)
def test_a_cast_without_its_guard_is_refused(body):
    assert "casts a value" in sentence(body)


@pytest.mark.parametrize(
    ("argument", "asked"),
    [
        ("Any", "Tensor"),
        (f"List[{PAIR}]", "list"),
        (f"Union[{PAIR}, __torch__.m.C]", "__torch__.m.C"),  # it may be a NamedTuple without name
        (f"Union[{PAIR}, Tuple[List[int]]]", "Tuple[List[int]]"),
        (f"Union[{PAIR}, Tuple[Any]]", "Tuple[Any]"),
    ],
)
def test_what_is_left_over_by_a_guard_may_be_anything_else(argument, asked):
    body = f"_0 = isinstance(x, {asked})\nif _0:\n  pass\nelse:\n  a, b, = {CAST}"
    assert "casts a value" in sentence(body, argument, "class C(NamedTuple):\n  p : int\n")


@pytest.mark.parametrize("argument", ["Any", f"Union[Tensor, {PAIR}]"])
def test_a_cast_to_something_smaller_may_not_hide_what_a_guard_asks_for(argument):
    """A tuple that is said to be a Tensor is none for `isinstance`, which leaves the tuple."""
    guarded = f"_0 = isinstance(y, Tensor)\nif _0:\n  pass\nelse:\n  a, = unchecked_cast({PAIR}, y)"
    assert sentence(guarded, f"Union[Tensor, {PAIR}]") == ""
    hidden = f"def g(x: {argument}) -> Tensor:\n  return unchecked_cast(Tensor, x)\n"
    assert "hidden" in sentence(guarded, f"Union[Tensor, {PAIR}]", hidden)


def test_a_method_may_not_have_an_attributes_name():
    """Or it could not be told what a call gives."""
    method = f"  def f(self: __torch__.m.C) -> {PAIR}:\n    pass\n"
    assert "of one name" in sentence("pass", more=f"class C:\n{method}  f : Tensor\n")


def test_a_class_may_not_be_there_twice():
    twice = "class C(NamedTuple):\n  p : int\nclass C(Module):\n  p : int\n"
    assert "is there twice" in sentence("pass", more=twice)
