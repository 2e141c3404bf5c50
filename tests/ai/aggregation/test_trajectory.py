"""Moments of versions of one model, against numpy."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fl_archive.model import read_model
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_moments
from fl_server_ai.aggregation.errors import AggregationError
from fl_server_ai.aggregation.trajectory import make_moments


@pytest.fixture
def versions(tmp_path):
    """Write models whose parameters are those of `build()` and noise."""

    def write(build, count=3):
        paths = [tmp_path / f"version-{number}.pt" for number in range(count)]
        for path in paths:
            torch.jit.save(torch.jit.script(build()), path)
        return paths

    return write


def made(paths, folder, progress=lambda: None):
    first, second = folder / "first", folder / "second"
    make_moments(versions=paths, first=first, second=second, progress=progress)
    return first, second


def test_they_are_the_means_of_the_weights_and_of_their_squares(versions, tmp_path):
    paths = versions(lambda: nn.Sequential(nn.Linear(300, 900), nn.BatchNorm1d(900)))
    first, second = map(load_file, made(paths, tmp_path))
    states = [dict(torch.jit.load(path).named_parameters()) for path in paths]
    assert list(first) == list(second) == list(states[0])  # without buffers, in their order
    for name in first:
        values = np.stack([state[name].detach().numpy().astype(np.float64) for state in states])
        np.testing.assert_allclose(first[name].numpy(), values.mean(0), rtol=1e-15)
        np.testing.assert_allclose(second[name].numpy(), (values**2).mean(0), rtol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_they_are_float64_whatever_the_weights_are(versions, tmp_path, dtype):
    paths = versions(lambda: nn.Linear(3, 2).to(dtype), count=2)
    first, _ = made(paths, tmp_path)
    models = [torch.jit.load(path) for path in paths]
    mean = sum(model.weight.detach().double() for model in models) / 2
    assert torch.equal(load_file(first)["weight"], mean)


def test_one_version_has_no_variance(versions, tmp_path):
    first, second = map(load_file, made(versions(lambda: nn.Linear(3, 2), 1), tmp_path))
    for name in first:
        assert torch.equal(first[name].square(), second[name])


def test_tied_weights_count_once(versions, tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    paths = versions(Tied, count=2)
    first, _ = made(paths, tmp_path)
    assert list(load_file(first)) == [n for n, _ in torch.jit.load(paths[0]).named_parameters()]


def test_their_files_are_laid_out_as_those_of_participants_moments(versions, tmp_path):
    paths = versions(lambda: nn.Linear(3, 2))
    first, _ = made(paths, tmp_path)
    torch.save(torch.zeros(8), tmp_path / "sent")
    with read_model(paths[0]) as reference:
        admit_moments(tmp_path / "sent", reference, tmp_path / "admitted")
    with TensorFile(first) as ours, TensorFile(tmp_path / "admitted") as theirs:
        assert list(ours.tensors.items()) == list(theirs.tensors.items())


def test_progress_may_abort(versions, tmp_path):
    def lose():
        raise RuntimeError("the turn is lost")

    with pytest.raises(RuntimeError, match="the turn is lost"):
        made(versions(lambda: nn.Linear(3, 2)), tmp_path, lose)
    assert not (tmp_path / "first").exists()


def test_a_damaged_version_is_a_reason_to_end(versions, tmp_path):
    paths = versions(lambda: nn.Linear(3, 2))
    paths[1].write_bytes(b"PK\3\4 cut off")
    with pytest.raises(AggregationError, match="can't be read"):
        made(paths, tmp_path)
