"""Weights out of any file, without its code; into modules and back, to the bit."""

import io
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fl_archive import read_model
from fl_archive.narrowed import write_narrowed
from fl_client import Unfit, weights
from fl_client.weights import load_into, read_arrays, to_arrays


class Net(nn.Module):
    """Tensors of several types, some of which NumPy lacks."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.short = nn.Parameter(torch.rand(2, 2).bfloat16())
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("on", torch.tensor([True, False]))
        self.register_buffer("tiny", torch.rand(3).to(torch.float8_e4m3fn))


def equal(one, other):
    return all(torch.equal(value.float(), other[name].float()) for name, value in one.items())


def test_a_module_comes_back_to_the_bit(tmp_path):
    net, other = Net(), Net()
    save_file(net.state_dict(), tmp_path / "model")
    load_into(other, read_arrays(tmp_path / "model"), whole=True)
    assert equal(net.state_dict(), other.state_dict())
    arrays = to_arrays(other)
    weights.write_arrays(
        arrays,
        {name: "BF16" if name == "short" else DTYPES[name] for name in arrays},
        tmp_path / "back",
    )
    again = Net()
    load_into(again, read_arrays(tmp_path / "back"), whole=True)
    assert equal(net.state_dict(), again.state_dict())


DTYPES = {
    "layer.weight": "F32",
    "layer.bias": "F32",
    "count": "I64",
    "on": "BOOL",
    "tiny": "F8_E4M3",
}


def test_torchscript_gives_its_weights_and_runs_nothing(tmp_path, monkeypatch):
    net = nn.Linear(3, 2)
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(net).save(str(tmp_path / "model"))
    monkeypatch.setattr(torch.jit, "load", None)
    arrays = read_arrays(tmp_path / "model")
    assert np.array_equal(arrays["weight"], net.weight.detach().numpy())


def test_int8_becomes_the_numbers_that_it_stands_for(tmp_path):
    net = nn.Linear(3, 2)
    save_file(net.state_dict(), tmp_path / "model")
    with read_model(tmp_path / "model") as file:
        write_narrowed(file, tmp_path / "narrow", "int8")
    arrays = read_arrays(tmp_path / "narrow")
    assert arrays.keys() == {"weight", "bias"}
    for name, tensor in net.state_dict().items():
        assert np.allclose(arrays[name], tensor, atol=tensor.abs().max().item() / 250)


def test_tied_weights_may_come_once(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    arrays = {name: array for name, array in to_arrays(net).items() if name != "1.weight"}
    load_into(net, arrays, whole=True)


def test_a_script_may_have_buffers_that_a_state_dict_leaves_out():
    net = nn.Linear(1, 1, bias=False)
    net.register_buffer("mask", torch.zeros(2), persistent=False)
    load_into(net, {"weight": np.ones((1, 1)), "mask": np.ones(2)}, whole=True)
    assert net.mask.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"weight": np.zeros((2, 3), "f4")}, "it lacks bias"),
        ({"weight": np.zeros((3, 2), "f4"), "bias": np.zeros(2, "f4")}, r"of shape \[3, 2\]"),
        ({"w": np.zeros(1, "f4"), "weight": np.zeros((2, 3)), "bias": np.zeros(2)}, "it has w"),
    ],
)
def test_another_model_is_told_from_ones_own(arrays, said):
    with pytest.raises(Unfit, match=said):
        load_into(nn.Linear(3, 2), arrays, whole=True)


def test_what_is_no_model_is_a_sentence(tmp_path):
    (tmp_path / "model").write_bytes(b"something else")
    with pytest.raises(Unfit):
        read_arrays(tmp_path / "model")
    with pytest.raises(Unfit, match="no list"):
        to_arrays([io])
