"""Operators that trust their arguments are admitted behind functions that don't."""

import subprocess
import sys
import zipfile

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fl_archive.admitted import check_code
from fl_archive.admitted.torchscript import declarations
from fl_archive.errors import Refused

from . import zoo
from .forge import admit


class Remainder(nn.Module):
    def forward(self, x: Tensor, by: int) -> Tensor:
        return x + x.size(0) % by + x.size(1) // by


class Bags(nn.Module):
    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        return functional.embedding_bag(torch.tensor([0, 1, 1]), x, offsets)


class Strided(nn.Module):
    def forward(self, x: Tensor, stride: int) -> Tensor:
        return torch.as_strided(x, [1, 2], [stride, 1])


class Sampled(nn.Module):
    def forward(self, x: Tensor, mode: int) -> Tensor:
        return torch.grid_sampler(x[None, None], x[None, None, :, :2], mode, 0, False)


class Smoothed(nn.Module):
    def forward(self, x: Tensor, scale: float) -> Tensor:
        return functional.interpolate(
            x[None, None], scale_factor=[scale, 1.0], mode="bilinear", antialias=True
        )


class Normed(nn.Module):
    def forward(self, x: Tensor, norms: Tensor) -> Tensor:
        return torch._weight_norm(x, norms, 0)


class Cast(nn.Module):
    def forward(self, x: Tensor, dtype: int) -> Tensor:
        return x.to(dtype).float() + torch.zeros([2], dtype=dtype)


class Recurrent(nn.Module):
    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        weights = [torch.ones(8, 2), torch.ones(8, 2)]
        return torch.lstm(x[:, None], [state, state], weights, False, 1, 0.0, False, False, False)[
            0
        ]


class Unwritten(nn.Module):
    """oneDNN writes a part of the result alone where a single-element dimension has no stride."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(torch.as_strided(x, [1, 4, 1, 1, 1, 2], [0, 2, 2, 2, 2, 1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gelu_writes_all_of_its_result(dtype, tmp_path):
    zoo.save_script(Unwritten(), tmp_path / "m")
    admit(tmp_path / "m")
    x = torch.randn(8, dtype=dtype)
    result = torch.jit.load(tmp_path / "admitted")(x)
    assert result.shape == (1, 4, 1, 1, 1, 2)
    torch.testing.assert_close(result.flatten(), functional.gelu(x))


CASES = [
    (Remainder, 2, 0, "divided by 0"),
    (Bags, torch.tensor([0, 2]), torch.tensor([2, 0]), "out of range|fall"),
    (Bags, torch.tensor([0, 2]), torch.tensor([0, 9]), "out of range"),
    (Strided, 2, 1 << 61, "impossible"),
    (Sampled, 1, 9, "no such interpolation"),
    (Smoothed, 2.0, 1e-18, "scale"),
    (Normed, torch.ones(3, 1), torch.ones(1, 1), "don't fit"),
    (Cast, 7, 99, "no such dtype"),
    (Cast, 7, -128, "no such dtype"),
    (Recurrent, torch.zeros(1, 1, 2), torch.zeros(1, 1, 64), "don't fit"),
]


@pytest.mark.parametrize(("model", "good", "bad", "why"), CASES)
def test_an_argument_that_would_crash_torch_is_an_error(model, good, bad, why, tmp_path):
    zoo.save_script(model(), tmp_path / "m")
    x = torch.rand(3, 2)
    expected = torch.jit.load(tmp_path / "m")(x, good)
    admit(tmp_path / "m")
    loaded = torch.jit.load(tmp_path / "admitted")
    assert torch.equal(loaded(x, good), expected)
    with pytest.raises((RuntimeError, torch.jit.Error), match=why):
        loaded(x, bad)


def code(path):
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        return {name.partition("/")[2]: archive.read(name) for name in names}


@pytest.mark.parametrize("resaved", [False, True])
def test_what_was_admitted_is_admitted_again(resaved, tmp_path):
    zoo.save_script(Remainder(), tmp_path / "m")
    admit(tmp_path / "m")
    before = code(tmp_path / "admitted")
    (tmp_path / "admitted").rename(tmp_path / "m")
    if resaved:
        torch.jit.save(torch.jit.load(tmp_path / "m"), tmp_path / "m")
    admit(tmp_path / "m")
    assert code(tmp_path / "admitted").keys() == before.keys()
    assert resaved or code(tmp_path / "admitted") == before
    assert torch.jit.load(tmp_path / "admitted")(torch.zeros(3, 2), 2)[0, 0] == 2


def test_nobody_else_writes_the_functions(tmp_path):
    zoo.save_script(Strided(), tmp_path / "m")
    admit(tmp_path / "m")
    ours = code(tmp_path / "admitted")["code/__torch__/fl_checked.py"]
    with zipfile.ZipFile(tmp_path / "m", "a") as archive:
        [root] = {name.partition("/")[0] for name in archive.namelist()}
        archive.writestr(
            f"{root}/code/__torch__/fl_checked.py", "def as_strided() -> int:\n  pass\n"
        )
    admit(tmp_path / "m")
    assert code(tmp_path / "admitted")["code/__torch__/fl_checked.py"] == ours
    with pytest.raises(Refused, match="no place for"):
        check_code({"code/__torch__/fl_checked/more.py": b""})


KINDS = {
    "classes": "class C{n}:\n  a : {other}\n",
    "methods": "class C{n}:\n  def f(self: __torch__.c.C{n}, x: {other}) -> int:\n    return 1\n",
    "functions": "def C{n}(x: Tensor) -> Tensor:\n  return {call}\n",
}


def chain(kind, length):
    """So many definitions, each of which needs the next."""
    rows = [
        KINDS[kind].format(n=n, other=f"__torch__.c.C{n + 1}", call=f"__torch__.c.C{n + 1}(x)")
        for n in range(length - 1)
    ]
    return "".join([*rows, KINDS[kind].format(n=length - 1, other="int", call="x")])


LOAD = """
import sys, torch
try:
    torch.jit.load(sys.argv[1])
except RuntimeError as error:
    assert "not in the map" in str(error), error
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_deepest_admitted_types_load_and_deeper_ones_are_refused(kind, tmp_path):
    """An object of the first class isn't there: torch says so, once it has read all of them."""
    zoo.save_script(zoo.build("linear"), tmp_path / "m")
    use = "__torch__.c.C0(input)" if kind == "functions" else "uninitialized(__torch__.c.C0)"
    deepest = declarations.MAX_DEPTH - 1  # the module is one more
    with zipfile.ZipFile(tmp_path / "m") as old, zipfile.ZipFile(tmp_path / "new", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(".py"):
                data = data.replace(b"Tensor:\n", f"Tensor:\n    _9 = {use}\n".encode())
            new.writestr(zipfile.ZipInfo(name), data)
        new.writestr(zipfile.ZipInfo("m/code/__torch__/c.py"), chain(kind, deepest))
    admit(tmp_path / "new")
    subprocess.run([sys.executable, "-c", LOAD, tmp_path / "admitted"], check=True)
    with pytest.raises(Refused, match="nested too deeply"):
        check_code({"code/__torch__/c.py": chain(kind, declarations.MAX_DEPTH + 1).encode()})


def test_too_many_classes_are_refused():
    many = "".join(f"class C{n}:\n  pass\n" for n in range(declarations.MAX_DEFINITIONS + 1))
    with pytest.raises(Refused, match="too many"):
        check_code({"code/__torch__/c.py": many.encode()})
