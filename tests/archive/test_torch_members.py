"""Members that torch writes beside code, pickles and blocks: which are kept, which left out."""

import warnings
import zipfile

import pytest
import torch
from torch import Tensor, nn

from fl_archive.admission import admit_model
from fl_archive.errors import ArchiveError
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update
from fl_archive.writer import write_model

from . import forge, zoo


class Versioned(nn.Module):
    """Operators of which torch has several versions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.gelu(self.layer(x), approximate="tanh")
        y = torch.div(y, torch.linspace(1.0, 2.0, 4), rounding_mode=None)
        return y + torch.logspace(0.0, 1.0, 4) + torch.full((4,), 2.0)


def scripted(module):
    return torch.jit.script(module)


def traced(module):
    return torch.jit.trace(module, torch.rand(5, 3))


NOTES = {"labels.json": b'["cat"]', "a/b ä.txt": b"\0" * 100}
SAVERS = {
    "scripted": lambda module, path: torch.jit.save(scripted(module), path),
    "traced": lambda module, path: torch.jit.save(traced(module), path),
    "with extra files": lambda m, p: torch.jit.save(traced(m), p, _extra_files=NOTES),
    "for phones": lambda module, path: scripted(module)._save_for_lite_interpreter(
        str(path), _extra_files={"x": "y"}, _save_mobile_debug_info=True
    ),
    "eager": lambda module, path: torch.save(nn.Sequential(module.layer, nn.GELU()), path),
}


@pytest.mark.parametrize("saver", SAVERS)
def test_a_model_goes_through_a_round(saver, tmp_path):
    source, model, update, merged = (tmp_path / name for name in "smun")
    with warnings.catch_warnings(action="ignore"):
        SAVERS[saver](Versioned().eval(), source)
    with admit_model(source, model) as archive:
        trained = zoo.train(model, update)
        admit_update(update, archive, tmp_path / "numbers")
    with TensorFile(tmp_path / "numbers") as numbers:
        write_model(model, merged, ((name, numbers.raw(name)) for name in numbers.tensors))
    x = torch.rand(5, 3)
    assert torch.equal(zoo.load(merged)(x), trained(x))
    assert torch.equal(zoo.load(model)(x), zoo.load(source)(x))


def members_of(path):
    archive = zipfile.ZipFile(path)
    return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("saver", SAVERS)
def test_only_what_loading_needs_is_kept(saver, tmp_path):
    with warnings.catch_warnings(action="ignore"):
        SAVERS[saver](Versioned().eval(), tmp_path / "source")
    admit_model(tmp_path / "source", tmp_path / "model")
    version = "version" if saver == "eager" else ".data/version"
    folders = {name.partition("/")[0] for name in members_of(tmp_path / "model")} - {version}
    assert version in members_of(tmp_path / "model")
    assert folders <= {"data.pkl", "constants.pkl", "byteorder", "code", "data", ".data"}
    assert not any(b"cat" in data for data in members_of(tmp_path / "model").values())


def rewritten(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"model/{name}", data)


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.div(x, 2)


@pytest.mark.parametrize(("version", "result"), [(b"3\n", [1, 3]), (b"4", [1.5, 3.5])])
def test_operators_mean_what_they_meant_in_the_files_version(version, result, tmp_path):
    """Up to version 3, torch.div of whole numbers was whole."""
    zoo.save_script(Half(), tmp_path / "new")
    rewritten(tmp_path / "old", members_of(tmp_path / "new") | {"version": version})
    admit_model(tmp_path / "old", tmp_path / "model")
    assert zoo.load(tmp_path / "model")(torch.tensor([3, 7])).tolist() == result


def test_of_two_versions_the_one_that_torch_reads_is_kept(tmp_path):
    zoo.save_script(Half(), tmp_path / "new")
    versions = {"version": b"3\n", ".data/version": b"8\n"}
    rewritten(tmp_path / "both", members_of(tmp_path / "new") | versions)
    admit_model(tmp_path / "both", tmp_path / "model")
    assert "version" not in members_of(tmp_path / "model")
    assert zoo.load(tmp_path / "model")(torch.tensor([3])).tolist() == [1.5]


@pytest.mark.parametrize(
    "version", [b"", b"0", b"-4", b"0x4", b"4 ", b"4\n\n", b"\n4", b"100", "٤".encode(), b"4\n5"]
)
@pytest.mark.parametrize("name", ["version", ".data/version"])
def test_a_version_that_is_no_small_number_is_refused(name, version, tmp_path):
    path = forge.archive(tmp_path / "m", forge.module(), members={name: version})
    forge.expect_refused(path, "which version")


@pytest.mark.parametrize(
    "name", [".data/other", ".data", "extra", "Extra/x", "extra/../x", "bytecode/x", "a.debug_pkl"]
)
def test_other_members_are_refused(name, tmp_path):
    path = forge.archive(tmp_path / "m", forge.module(), members={name: b"x"})
    with pytest.raises(ArchiveError, match=r"save the model alone|climbs"):
        admit_model(path, tmp_path / "admitted")
