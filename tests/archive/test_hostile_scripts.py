"""TorchScript archives whose parts don't fit each other, or that do too much."""

import zipfile

import pytest
import torch

from . import forge, zoo
from .forge import admit, expect_refused


def rewritten(path, change):
    """The archive with its members changed, packed as torch's reader likes it."""
    with zipfile.ZipFile(path) as old:
        contents = {name.partition("/")[2]: old.read(name) for name in old.namelist()}
    [code] = [name for name in contents if name.startswith("code/") and name.endswith(".py")]
    contents |= change(contents, code)
    with zipfile.ZipFile(path, "w") as new:
        for name, content in contents.items():
            new.writestr(zipfile.ZipInfo(f"m/{name}"), content)
    return path


def script(tmp_path):
    zoo.save_script(zoo.build("linear"), tmp_path / "m")
    return tmp_path / "m"


def test_a_repacked_script_is_fine_when_nothing_is_wrong_with_it(tmp_path):
    admit(rewritten(script(tmp_path), lambda old, code: {}))


ELSEWHERE = forge.tensor(forge.storage(key="9"))


@pytest.mark.parametrize(
    "change",
    [
        lambda old, code: {code: old[code].replace(b"  weight : Tensor\n", b"")},
        lambda old, code: {code: old[code].replace(b"  bias :", b"  bias : Tensor\n  more :")},
        lambda old, code: {code: old[code].replace(b"class Linear", b"class Other")},
        lambda old, code: {code: old[code].replace(b"  def forward", b"  def __setstate__")},
        lambda old, code: {code: b"\xff"},
        lambda old, code: {code.replace("modules", "Modules"): b""},
        lambda old, code: {code.replace(".py", ".PY"): b""},
        lambda old, code: {"code/__torch__/../x.py": b""},
        lambda old, code: {"code/other.py": b""},
        lambda old, code: {"constants.pkl": b"\x80\x02cos\nsystem\n."},
        lambda old, code: {
            "constants.pkl": b"\x80\x02" + forge.tensor(forge.storage(key="9")) + b"."
        },
        lambda old, code: {"constants.pkl": b"\x80\x04)."},
        lambda old, code: {"data.pkl": b"\x80\x02N."},
        lambda old, code: {"data.pkl": b"\x80\x02c__torch__\nM\n)\x81N."},
    ],
)
def test_refuses_scripts_that_do_not_add_up(change, tmp_path):
    expect_refused(rewritten(script(tmp_path), change))


def test_a_frozen_script_has_no_state_but_loads(tmp_path):
    module = zoo.build("linear")
    zoo.save_frozen(module, tmp_path / "m")
    assert not admit(tmp_path / "m").tensors
    inputs = torch.rand(5, 3)
    assert torch.equal(zoo.load(tmp_path / "admitted")(inputs), module(inputs))


def test_a_quantized_script_is_refused(tmp_path):
    zoo.save_quantized(tmp_path / "m")
    expect_refused(tmp_path / "m")
