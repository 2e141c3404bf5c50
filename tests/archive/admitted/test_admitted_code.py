import random
import string
import textwrap
import threading
import zipfile

import pytest
import torch
from admitted_models import MODELS, code_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_archive.admitted import check_code, replaced
from fl_archive.admitted import code as code_module
from fl_archive.admitted.torchscript import child
from fl_archive.errors import Refused

MEMBER = "code/__torch__/m.py"
CLASS = """
class M(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  save : Tensor
  def forward(self: __torch__.m.M, x: Tensor) -> Tensor:
"""


def check(source):
    check_code({MEMBER: source if isinstance(source, bytes) else source.encode()})


def method(*lines):
    return CLASS + textwrap.indent("\n".join(lines), "    ") + "\n"


@pytest.mark.parametrize("name", MODELS)
def test_what_torch_saves_passes(name, archives):
    check_code(replaced(code_of(archives[name])))


def test_zeroed_code_loads_and_computes(archives, tmp_path):
    members = dict(archives["noise"])
    members |= replaced(code_of(members))
    assert not [name for name, data in code_of(members).items() if b"empty" in data]
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        for name, data in members.items():
            archive.writestr(f"model/{name}", data)
    result, _ = torch.jit.load(tmp_path / "model.pt")(torch.ones(2, 3))
    assert result.shape == (2, 3)


def test_words_in_strings_stay_as_they_are():
    source = b'x = "torch.empty("\ny = torch.empty([2])\nz = torch.new_empty(x, [1])\n'
    expected = b'x = "torch.empty("\ny = torch.zeros([2])\nz = torch.new_zeros(x, [1])\n'
    assert replaced({"a": source}) == {"a": expected}


@pytest.mark.parametrize(
    "line",
    [
        'torch.save(x, "/tmp/stolen")',
        'return torch.from_file("/etc/passwd", False, 10)',
        'return torch.autograd.from_file("/etc/passwd", False, 10)',
        "return torch.empty([1000])",
        "return torch.resize_(x, [1000])",
        "return torch.set_(x, x)",
        "return torch._unsafe_view(x, [1])",
        "return torch._sparse_coo_tensor_unsafe(x, x, [1])",
        "return torch.manual_seed(1)",
        "return torch.lu_unpack(x, x)",
        "return torch.native_batch_norm(x, x, None, None, None, False, 0.1, 0.1)",
        "return torch.relu.save(x)",
        'return ops.aten.save(x, "f")',
        'return ops.prim.PythonOp("f")',
        "return ops.prim.rpc_sync(x)",
        "return ops.c10d.send(x)",
        "return ops.quantized.linear(x)",
        "return ops.mylibrary.anything(x)",
        'return __torch__.torch.classes.anything.Thing("x")',
        "return __torch__.other.function(x)",
        "return CONSTANTS.save",
        "return torch.zeros([1], memory_format=0)",
    ],
)
def test_an_operator_that_is_not_listed_is_refused(line):
    with pytest.raises(Refused, match=r"m\.py, line"):
        check(method(line))


@pytest.mark.parametrize(
    "lines",
    [
        ["t = torch", 't.save(x, "f")'],
        ["f = torch.save", 'f(x, "f")'],
        ["t, u, = torch, x", 't.save(x, "f")'],
        ["for t in [torch]:", '  t.save(x, "f")'],
        ["with torch as t:", '  t.save(x, "f")'],
        ['f = getattr(torch, "save")', 'f(x, "f")'],
        ['getattr(torch, "save")(x, "f")'],
        ['getattr(x, "save")("f")'],
        ['getattr(x, "sa\\x76e")("f")'],
        ['getattr(x, "sa" "ve")("f")'],
        ['getattr(x, "resize_")([9])'],
        ['x.save("f")'],
        ["f = x.save", 'f("f")'],
        ["x.resize_([9])"],
        ["self = x", 'self.save("f")'],
        ["def inner(self: Tensor):", '  self.save("f")', "return inner(x)"],
        ["fork(torch.save, x)"],
        ["def inner(y: Tensor):", "  return y", "return fork(inner, x)"],
        ["annotate(Tensor, x, y=torch.save(x))"],
        ["return annotate(__torch__.torch.classes.a.B, x)"],
        ["return (ops)(x)"],
        ["(torch).save(x)"],
        ["return [torch][0].save(x)"],
        ["return {1: ops}[1].c10d.send(x)"],
        ["torch = x", "return x"],
        ["def torch(x: Tensor):", "  pass"],
        ["return rpc_sync(x)"],
        ["return eval(x)"],
        ["return unknown"],
    ],
    ids=" / ".join,
)
def test_no_alias_leads_around_the_list(lines):
    with pytest.raises(Refused, match=r"m\.py, line"):
        check(method(*lines))


@pytest.mark.parametrize(
    "source",
    [
        "import os\n",
        "from os import system\n",
        "x = 1\n",
        "print(1)\n",
        "async def f():\n  pass\n",
        "def f(x: int=torch.zeros([9])) -> int:\n  return x\n",
        "def f(x: int=f()) -> int:\n  return x\n",
        "def f(x: os.PathLike) -> int:\n  return 1\n",
        "def f(x: __torch__.torch.classes.a.B) -> int:\n  return 1\n",
        "def f(x: RRef[Tensor]) -> int:\n  return 1\n",
        "class A(B):\n  pass\n",
        "class A(Module, Enum):\n  pass\n",
        "class A(Enum):\n  B = torch.zeros([1])\n",
        "class A(NamedTuple):\n  b : int = torch.save(1)\n",
        "class A(Module):\n  b : Final[int] = torch.save(1)\n",
        "class A(Module):\n  __parameters__ = [torch.save(1)]\n",
        "class A(Module):\n  anything = [1]\n",
        "class A(Module):\n  print(1)\n",
        "class A:\n  def __setstate__(self: __torch__.m.A, x: int) -> NoneType:\n    return None\n",
        "class A:\n  def __getstate__(self: __torch__.m.A) -> int:\n    return 1\n",
    ],
)
def test_what_torch_never_writes_is_refused(source):
    with pytest.raises(Refused, match="code is refused"):
        check(source)


@pytest.mark.parametrize(
    "line",
    [
        "lambda: x",
        "[a for a in x]",
        "x if x else x",
        "x is nottorch",
        "x and x",
        "not x",
        "x < x",
        "(y := x)",
        "f'{x}'",
        "b'x'",
        "...",
        "x[::2]",
        "raise x",
        "del x",
        "assert x",
        "global x",
        "x += x",
        "try:\n      pass\n    finally:\n      pass",
    ],
)
def test_syntax_beyond_the_printers_is_refused(line):
    with pytest.raises(Refused):
        check(method(line))


@pytest.mark.parametrize(
    "text",
    [
        "# a comment",
        "# type: (Tensor) -> Tensor",
        "return \\\n      x",
        "return x; return x",
        "return '''x'''",
        'return """x"""',
        "return x\x0c",
        "return x\x0b",
        "return x\r",
        "\treturn x",
        "return x\x00",
        "return x\x1b",
        "return x\x7f",
        "return 1_000",
        "return 0x10",
        "return 1if x else 2",
        "return x ? x : x",
        "return x @ x",
        "return x <=> x",
        "return `x`",
        "return $x",
    ],
)
def test_characters_that_two_lexers_may_read_differently_are_refused(text):
    with pytest.raises(Refused, match=r"doesn't write there|not written by"):
        check(method(text))


@pytest.mark.parametrize(
    "source",
    [
        b"# coding: utf-7\n",
        b"\xef\xbb\xbfdef f() -> int:\n  return 1\n",
        "def f() -> int:\n  return é\n".encode(),
        b"\xff\xfe\x00",
        "def f() -> int:\n  return 1\n".encode("utf-16"),
    ],
)
def test_other_encodings_are_refused(source):
    with pytest.raises(Refused):
        check(source)


@pytest.mark.parametrize(
    "name",
    [
        "code/__torch__/torch/classes/a.py",
        "code/__torch__/torch/classes.py",
        "code/__torch__/../../x.py",
        "code/__torch__/a.PY",
        "code/__torch__/a b.py",
        "code/other/a.py",
        "code/__torch__/a.py.debug_pkl",
    ],
)
def test_code_lies_where_torch_puts_it(name):
    with pytest.raises(Refused, match="no place for"):
        check_code({name: b""})


@pytest.mark.parametrize(
    "lines",
    [
        ["a, b, = unchecked_cast(Tuple[int, int], x)"],
        ["y = torch.stack([x])", "a, b, = unchecked_cast(Tuple[int, int], y)"],
        ["y = unchecked_cast(__torch__.m.M, x)"],
        ["y = unchecked_cast(List[Tuple[int, int]], x)"],
        ["y: Optional[Tuple[int]] = None", "z = unchecked_cast(Tuple[int, int], y)"],
        ["y: Optional[Tuple[int]] = None", "y = x", "z = unchecked_cast(Tuple[int], y)"],
        ["y: Optional[Tuple[int]] = None", "y, (z, y) = x, x", "w = unchecked_cast(Tuple[int], y)"],
    ],
    ids=" / ".join,
)
def test_a_cast_that_could_lie_about_a_size_is_refused(lines):
    """Torch unpacks as many values as the type says, whatever the tuple holds."""
    with pytest.raises(Refused, match="casts a value"):
        check(method(*lines))


def test_a_cast_that_only_drops_none_passes():
    check(method("y: Optional[Tuple[int]] = None", "z = y", "w = unchecked_cast(Tuple[int], z)"))


def test_an_own_attribute_may_have_an_operators_name():
    check(method("save = self.save", "self.save = x", "return save"))


@pytest.mark.parametrize(
    "source",
    [
        "def f() -> int:\n  return " + "(" * 5000 + "1" + ")" * 5000 + "\n",
        "def f() -> int:\n  return " + "-" * 500_000 + "1\n",
        "def f(a: int) -> int:\n  return a" + "[a]" * 100_000 + "\n",
        "def f(a: int) -> int:\n  return a" + ".a" * 100_000 + "\n",
        "def f() -> int:\n  return " + "9" * 100_000 + "\n",
        "def f() -> int:\n" + "".join("  " * i + "if a:\n" for i in range(1, 200)) + "pass\n",
        '"' + '\\"' * 500_000,
        "x" * (1 << 20),
    ],
    ids=["parentheses", "minus", "subscripts", "attributes", "digits", "blocks", "quotes", "name"],
)
def test_code_made_to_exhaust_the_parser_is_refused(source):
    with pytest.raises(Refused):
        check_code(replaced({MEMBER: source.encode()}))


def test_long_names_are_refused_because_torch_recurses_over_them():
    name = "___torch_mangle_" + "1" * 300
    with pytest.raises(Refused, match="holds"):
        check(f"class {name}(Module):\n  pass\n")
    with pytest.raises(Refused, match="no place for"):
        check_code({f"code/__torch__/{name}.py": b""})


def test_an_attribute_whose_type_torch_replaces_is_refused():
    with pytest.raises(Refused, match="quantized"):
        check("class M(Module):\n  _packed_params : Tensor\n")


def test_too_much_code_is_refused_unread():
    with pytest.raises(Refused, match="larger than 2 MiB"):
        check(b"def f() -> int:\n  return 1\n" * 400_000)


def test_a_child_that_needs_too_much_memory_ends_in_a_refusal():
    with pytest.raises(Refused, match=r"can't be read|too much time or memory"):
        check("def f(a: int) -> int:\n  return [" + "a," * ((1 << 20) - 100) + "]\n")


def test_a_child_that_takes_too_long_is_killed(monkeypatch):
    monkeypatch.setattr(code_module, "SECONDS", 0.001)
    with pytest.raises(Refused, match="too long"):
        check(method("return x"))


def test_a_child_that_fails_ends_in_a_refusal(monkeypatch):
    monkeypatch.setattr(code_module, "COMMAND", ["/bin/false"])
    with pytest.raises(Refused, match="too much time or memory"):
        check(method("return x"))


def test_it_works_from_any_thread():
    results = []

    def run():
        try:
            check(method("torch.save(x)"))
        except Refused as refused:
            results.append(str(refused))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3


def mutated(source, rng):
    lines = source.split("\n")
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(lines))
        line = lines[at]
        match rng.randrange(5):
            case 0:
                lines[at] = line[: rng.randrange(len(line) + 1)]
            case 1:
                place = rng.randrange(len(line) + 1)
                lines[at] = line[:place] + rng.choice(string.printable) + line[place:]
            case 2:
                lines.insert(at, rng.choice(lines))
            case 3:
                lines[at] = line.replace(rng.choice(["torch", "self", "x", "(", "="]), "ops", 1)
            case 4:
                del lines[at]
                lines = lines or [""]
    return "\n".join(lines)


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_mutated_code_passes_or_is_refused(archives, seed):
    """In this process: what the child would answer is a sentence or nothing, never a traceback."""
    rng = random.Random(seed)
    code = replaced(code_of(archives["a bit of everything"]))
    sources = {name: source.decode() for name, source in code.items()}
    name = rng.choice(sorted(sources))
    assert isinstance(child.check({**sources, name: mutated(sources[name], rng)}), str | dict)
