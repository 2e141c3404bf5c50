"""Files admitted, trained and written anew, compared by torch."""

import pytest
import torch

from fl_archive.admission import admit_model
from fl_archive.model import read_model
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update
from fl_archive.writer import write_model

from . import zoo

MODEL_SAVERS = {key: zoo.TORCH_SAVERS[key] for key in ("module", "torchscript", "trace")}
OWN_CLASSES = [("tests.archive.zoo", name) for name in ("Net", "Tied", "Views", "Odd")]
OWN_CLASSES.append(("tests.archive.zoo", "Dtypes"))


def forward(module):
    torch.manual_seed(1)
    output = module(torch.rand(5, 3))
    while isinstance(output, tuple):
        output = output[0]
    return output


def expect_same(loaded, module):
    expected = module.state_dict()
    state = {name: tensor for name, tensor in loaded.state_dict().items() if name in expected}
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert zoo.as_bytes(tensor) == zoo.as_bytes(expected[name])
    assert torch.equal(forward(loaded), forward(module))


@pytest.mark.parametrize("saver", MODEL_SAVERS)
@pytest.mark.parametrize("name", zoo.ALL)
def test_admitted_and_rewritten_models_do_what_they_should(name, saver, tmp_path):
    module = zoo.build(name)
    MODEL_SAVERS[saver](module, tmp_path / "upload")
    with admit_model(
        tmp_path / "upload", tmp_path / "model", extra_globals=OWN_CLASSES
    ) as reference:
        expect_same(zoo.load(tmp_path / "model"), module)
        trained = zoo.train(tmp_path / "model", tmp_path / "update")
        admit_update(tmp_path / "update", reference, tmp_path / "numbers")
        with TensorFile(tmp_path / "numbers") as update:
            assert list(update.tensors) == [spec.name for spec in reference.distinct]
            write_model(
                tmp_path / "model", tmp_path / "next", ((n, update.raw(n)) for n in update.tensors)
            )
    with read_model(tmp_path / "next") as after:
        assert after.tensors == reference.tensors
    expect_same(zoo.load(tmp_path / "next"), trained)
