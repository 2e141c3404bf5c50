"""Files that older versions of torch wrote, see `files/make.py`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fl_archive.admission import admit_model
from fl_archive.model import read_model
from fl_archive.update import admit_update

from . import zoo

FILES = Path(__file__).with_name("files")
VERSIONS = sorted(path.stem for path in FILES.glob("*.json"))
KINDS = ("module", "state_dict", "torchscript", "trace")


def test_there_are_files_to_test():
    assert len(VERSIONS) >= 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_reads_files_of(version, kind):
    expected = json.loads((FILES / f"{version}.json").read_text())
    with read_model(FILES / f"{version}-{kind}.pt") as archive:
        assert archive.format == ("torchscript" if kind == "trace" else kind)
        assert list(archive.tensors) == list(expected)
        for name, values in expected.items():
            raw = archive.raw(name)
            typed = raw.view({"F32": np.float32, "I64": np.int64}[archive.tensors[name].dtype])
            assert typed.tolist() == np.ravel(values).astype(typed.dtype).tolist()
        assert archive.tensors["3.weight"].alias_of == "0.weight"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["module", "torchscript", "trace"])
def test_admits_models_and_updates_of(version, kind, tmp_path):
    with admit_model(FILES / f"{version}-{kind}.pt", tmp_path / "model") as reference:
        for other in KINDS:
            admit_update(FILES / f"{version}-{other}.pt", reference, tmp_path / "numbers")
    module = zoo.load(tmp_path / "model")
    assert torch.isfinite(module(torch.rand(5, 3))).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_admits_weights_and_updates_of(version, tmp_path):
    with admit_model(FILES / f"{version}-state_dict.pt", tmp_path / "model") as reference:
        for other in KINDS:
            admit_update(FILES / f"{version}-{other}.pt", reference, tmp_path / "numbers")
        assert zoo.load_weights(tmp_path / "model").keys() == reference.tensors.keys()
