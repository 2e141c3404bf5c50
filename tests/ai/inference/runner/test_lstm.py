"""LSTMs in runners. Where weights have not the shapes that they should, oneDNN reads past them."""

import os
import warnings

import pytest
import torch
from torch import nn

from fl_server_ai.failures import JobRefused
from tests.ai.inference.runner.conftest import Written, ask, evil, loading, soon

ROWS = [[1.0, 2.0], [3.0, 4.0]]
ON_CPU = os.environ["FL_DEVICE"] == "cpu"
EXACT = 1e-6 if ON_CPU else 1e-3
"""A GPU rounds factors to ten bits (TF32)."""
# On a GPU a pickled layer is in the wrong place besides: what code makes isn't moved there.
REFUSED = "^The model refuses the input: .*" + ("shapes" if ON_CPU else "(shape|device)")


class Layer(nn.Module):
    """Gives the outputs of torch's layer."""

    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    def forward(self, x):
        return self.lstm(x.unsqueeze(1))[0].squeeze(1)


class Operator(nn.Module):
    """Calls what the layer calls."""

    def __init__(self, lstm):
        super().__init__()
        self.a, self.b, self.c, self.d = lstm.parameters()
        self.size: int = lstm.hidden_size

    def forward(self, x):
        state = torch.zeros(1, len(x), self.size, device=x.device)
        weights = [self.a, self.b, self.c, self.d]
        y = torch.lstm(x.unsqueeze(1), (state, state), weights, True, 1, 0.0, False, False, True)
        return y[0].squeeze(1)


@pytest.fixture
def lstm():
    torch.manual_seed(0)
    return nn.LSTM(2, 64, batch_first=True)


@pytest.fixture
def outputs(pool, predicting, tmp_path):
    """Predict with a script in a runner of its own."""

    def call(module):
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            torch.jit.save(torch.jit.script(module), tmp_path / "model")
        with pool.runner("key") as runner:
            runner.do(loading(tmp_path / "model"), soon())
            return ask(runner, predicting(ROWS, samples=1))["inference"]

    return call


@pytest.mark.parametrize("made", [Layer, Operator])
def test_a_sound_lstm_is_right(lstm, outputs, made):
    with torch.no_grad():
        expected = Layer(lstm)(torch.tensor(ROWS))
    assert torch.allclose(outputs(made(lstm)), expected, atol=EXACT)


@pytest.mark.parametrize("made", [Layer, Operator])
def test_weights_that_are_too_small_are_refused(lstm, outputs, made):
    for weight in lstm.parameters():
        weight.data = torch.zeros([4, 1][: weight.dim()])
    with pytest.raises(JobRefused, match=REFUSED):
        outputs(made(lstm))


def test_a_pickled_layer_with_too_small_weights_is_refused(run):
    source = """
import torch
class Layer(torch.nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0]
made = Layer(2, 64)
for weight in made.parameters():
    weight.data = torch.zeros([4, 1][: weight.dim()])
"""
    with pytest.raises(JobRefused, match=REFUSED):
        run(Written(source))


def test_other_models_keep_onednn(run):
    told = evil("return torch.tensor([[float(torch.backends.mkldnn.enabled)]])")
    assert run(told)["inference"].item() == 1.0
