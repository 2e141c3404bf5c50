"""Scripts that make uninitialised tensors are admitted with zeros in their place."""

import zipfile

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from . import zoo
from .forge import admit


class Gumbel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return functional.gumbel_softmax(self.linear(x), tau=0.5, hard=True)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([1, 3, 2, 1, 2])
        packed = pack_padded_sequence(x.unsqueeze(2), lengths, True, enforce_sorted=False)
        output, _ = self.lstm(packed)
        return pad_packed_sequence(output, batch_first=True)[0]


def code(path):
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name[-3:] == ".py")


def output(path):
    torch.manual_seed(1)
    return zoo.load(path)(torch.rand(5, 3))


@pytest.mark.parametrize("model", [Gumbel, Packed])
def test_zeros_stand_for_uninitialised_tensors_and_change_no_output(model, tmp_path):
    zoo.save_script(model(), tmp_path / "m")
    assert b"torch.empty" in code(tmp_path / "m")
    archive = admit(tmp_path / "m")
    assert b"torch.empty" not in code(tmp_path / "admitted")
    assert b"torch.empty" not in b"".join(archive.sources.values())
    assert torch.equal(output(tmp_path / "admitted"), output(tmp_path / "m"))
