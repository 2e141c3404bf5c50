"""Models saved on another device than the processor are handed out loadable without it."""

import zipfile

import pytest
import torch
from torch import nn

from fl_archive.admission import admit_model

from . import forge, zoo


def build():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    net[2].weight = net[0].weight
    return net.eval()


@pytest.fixture
def save_on(monkeypatch, tmp_path):
    """Save as torch does on a device that this machine may lack: with its name at every tensor."""

    def save(module, device):
        with monkeypatch.context() as patch:
            # A text of its own each time, as torch makes it for a GPU.
            patch.setattr(torch.serialization, "location_tag", lambda _: "".join(device))
            torch.save(module, tmp_path / "model")
        return tmp_path / "model"

    return save


def data_of(path):
    with zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if name.endswith("/data.pkl"))
        return file.read(name)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:11", "cuda", "mps", "xpu:1"])
def test_an_eager_model_of_another_device_loads_on_the_processor(device, save_on, tmp_path):
    net = build()
    path = save_on(net, device)
    with admit_model(path, tmp_path / "admitted"):
        assert device.encode() not in data_of(tmp_path / "admitted")
    loaded = torch.load(tmp_path / "admitted", map_location=None, weights_only=False)
    assert loaded[2].weight is loaded[0].weight
    x = torch.rand(3, 2)
    assert torch.equal(loaded(x), net(x))


def test_nothing_but_the_location_changes(save_on, tmp_path):
    net = build()
    net.device = "cuda:0"
    admit_model(save_on(net, "cuda:0"), tmp_path / "admitted")
    before, after = data_of(tmp_path / "model"), data_of(tmp_path / "admitted")
    assert before.count(b"cuda:0") == 9  # of eight storages, and its own
    assert after.count(b"cuda:0") == 1
    assert torch.load(tmp_path / "admitted", weights_only=False).device == "cuda:0"


def test_text_that_looks_like_a_location_is_not_changed(tmp_path):
    inside = "X\x06\0\0\0cuda:0K\4tQ"
    weight = forge.tensor(forge.storage(where="cuda:0"))
    root = forge.module({"weight": weight}, note=forge.text(inside))
    forge.expect_refused(forge.archive(tmp_path / "m", root), "device 'cuda:0': save the model")


@pytest.mark.parametrize("device", ["xla:0", "meta", "cuda:0:1", "cuda:9999", "CUDA", "a" * 500])
def test_other_devices_are_refused_with_what_to_do(device, tmp_path):
    root = forge.module({"weight": forge.tensor(forge.storage(where=device))})
    forge.expect_refused(forge.archive(tmp_path / "m", root), "save the model from cpu")


def test_a_script_of_another_device_loads_on_the_processor(tmp_path):
    net = build()
    zoo.save_script(net, tmp_path / "script")
    with (
        zipfile.ZipFile(tmp_path / "script") as source,
        zipfile.ZipFile(tmp_path / "moved", "w") as target,
    ):
        for member in source.infolist():
            data = source.read(member)
            if member.filename.endswith("/data.pkl"):
                data = data.replace(forge.text("cpu"), forge.text("cuda:0"))
            target.writestr(zipfile.ZipInfo(member.filename), data)
    admit_model(tmp_path / "moved", tmp_path / "admitted")
    x = torch.rand(3, 2)
    assert torch.equal(zoo.load(tmp_path / "admitted")(x), net(x))
