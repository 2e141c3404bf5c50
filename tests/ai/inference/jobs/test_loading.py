import importlib

import pytest
import torch
from torch import nn

from fl_archive.safetensors_file import TensorFile, write_tensor_file
from fl_server_ai.failures import CannotLoad, Missing
from fl_server_ai.inference.jobs.loading import Member, load_module, open_device
from fl_server_ai.inference.protocol import Predict
from fl_server_ai.tensors import Tensors
from fl_server_ai.uncertainty.registry import METHODS
from tests.ai.inference.runner.conftest import Written, ask, loading, opened, soon
from tests.vision import import_torchvision

CPU = torch.device("cpu")


def test_torchvisions_transforms_are_preprocessing(tmp_path, launcher):
    """In a runner of its own, where nobody has imported torchvision before."""
    import_torchvision()
    from PIL import Image
    from torchvision.transforms import v2

    from fl_server_ai.inference.runner.pool import Pool

    torch.save(
        v2.Compose([v2.Resize((1, 2)), v2.ToDtype(torch.float32), v2.Normalize([0.5], [0.5])]),
        tmp_path / "preprocessing",
    )
    torch.save(nn.Flatten(), tmp_path / "model")
    Image.new("L", (8, 4), 255).save(tmp_path / "input", "PNG")
    job = Predict(
        method=METHODS["MC_DROPOUT"].function,
        samples=1,
        softmax=False,
        input=opened(tmp_path / "input"),
        is_json=False,
        input_shape=[None, 1, 1, 2],
        max_batch=1,
    )
    pool = Pool(launcher, idle=0)
    with pool.runner("vision") as runner:
        runner.do(loading(tmp_path / "model", None, tmp_path / "preprocessing"), soon())
        [row] = ask(runner, job)["inference"].tolist()
    assert row == pytest.approx([1.0, 1.0])


def test_a_missing_library_is_named(tmp_path):
    torch.save(Written("import nowhere.to_be_found"), tmp_path / "model")
    with pytest.raises(Missing, match=r"^It needs nowhere, which isn't installed on the server\.$"):
        load_module(opened(tmp_path / "model"), CPU)


def test_torchvision_that_is_not_installed_is_named(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("no", name=name)

    torch.save([nn.Linear(1, 1), "torchvision"], tmp_path / "model")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Missing, match="torchvision"):
        load_module(opened(tmp_path / "model"), CPU)


def test_what_is_no_module_cannot_be_loaded(tmp_path):
    torch.save([1], tmp_path / "model")
    with pytest.raises(CannotLoad, match="no module"):
        load_module(opened(tmp_path / "model"), CPU)
    (tmp_path / "text").write_text("text")
    with pytest.raises(CannotLoad):
        load_module(opened(tmp_path / "text"), CPU)


def test_a_missing_device_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Missing, match="FL_DEVICE"):
        open_device("cuda", 1)


def test_numbers_of_every_type_go_where_they_belong(tmp_path):
    module = nn.Module()
    values = {
        "brief": torch.tensor([1.5], dtype=torch.bfloat16),
        "wave": torch.tensor([1 + 2j]),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
    }
    names = {"brief": "BF16", "wave": "C64", "count": "I64", "mask": "BOOL"}
    for name, value in values.items():
        module.register_buffer(name, torch.zeros_like(value))
    write_tensor_file(
        tmp_path / "numbers",
        {name: (names[name], tuple(value.shape)) for name, value in values.items()},
        (value.reshape(-1).view(torch.uint8).numpy() for value in values.values()),
    )
    with TensorFile(tmp_path / "numbers") as numbers:
        state = Member(module, Tensors(numbers)).fresh().state_dict()
    assert all(torch.equal(state[name], value) for name, value in values.items())
    assert not module.count.any()


def test_a_tied_weight_is_filled_by_either_name(tmp_path):
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    module[1].weight = module[0].weight
    number = torch.full((1, 1), 5.0)
    write_tensor_file(
        tmp_path / "numbers", {"0.weight": ("F32", (1, 1))}, [number.view(torch.uint8).numpy()[0]]
    )
    with TensorFile(tmp_path / "numbers") as numbers:
        filled = Member(module, Tensors(numbers)).fresh()
    assert filled[1].weight.item() == 5.0
    assert module[0].weight.item() != 5.0
