"""Each method against what can be worked out by hand."""

import warnings

import pytest
import torch
from torch import nn

from fl_server_ai.failures import JobRefused
from fl_server_ai.uncertainty.mc_dropout import switch_on
from fl_server_ai.uncertainty.swag import draw
from fl_server_ai.uncertainty.walk import walk
from tests.ai.uncertainty.conftest import linear, moments_of


def test_the_walk_gives_mean_and_unbiased_variance():
    outputs = torch.randn(7, 4, 3)
    prediction = walk(iter(outputs))
    assert torch.allclose(prediction.inference, outputs.mean(0), atol=1e-6)
    assert torch.allclose(prediction.uncertainty["variance"], outputs.var(0), atol=1e-6)


def test_far_from_zero_nothing_cancels_out():
    outputs = 1e4 + torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1)
    assert torch.allclose(walk(outputs).uncertainty["variance"], torch.tensor(1.0))


def test_the_entropies_are_those_of_two_passes():
    told = walk(iter(torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]]))).uncertainty
    mean = torch.tensor([0.75, 0.25])
    predictive = -(mean * mean.log()).sum()
    expected = torch.tensor(2.0).log() / 2
    assert torch.allclose(told["predictive_entropy"], predictive)
    assert torch.allclose(told["expected_entropy"], expected)
    assert torch.allclose(told["mutual_info"], predictive - expected)


def test_passes_of_different_shapes_are_refused():
    with pytest.raises(JobRefused, match="differ in shape"):
        walk(iter([torch.ones(2, 2), torch.ones(2, 3)]))


def test_an_ensembles_members_are_averaged(predict):
    prediction = predict(
        "ENSEMBLE", linear(1.0, 2.0), torch.tensor([[2.0]]), others=[linear(3.0, 2.0)]
    )
    assert prediction.inference.tolist() == [[4.0, 4.0]]
    assert prediction.uncertainty["variance"].tolist() == [[8.0, 0.0]]


def test_dropouts_mean_and_variance_are_the_binomials(predict):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Dropout(0.25), linear(1.0))
    prediction = predict("MC_DROPOUT", module, torch.full((500, 1), 3.0), samples=200)
    # x/(1-p) with probability 1-p, else 0: mean x, variance x² p/(1-p).
    assert prediction.inference.mean().item() == pytest.approx(3.0, rel=0.02)
    assert prediction.uncertainty["variance"].mean().item() == pytest.approx(3.0, rel=0.02)


def test_swags_mean_and_variance_are_the_gaussians(predict):
    torch.manual_seed(0)
    prediction = predict("SWAG", linear(1.0), torch.full((1, 1), 3.0), std=0.5, samples=4000)
    assert prediction.inference.item() == pytest.approx(3.0, rel=0.05)
    assert prediction.uncertainty["variance"].item() == pytest.approx(2.25, rel=0.1)


def make_recurrent():
    return nn.LSTM(2, 2, num_layers=2, dropout=0.5)


@pytest.mark.parametrize("script", [False, True])
def test_only_what_drops_is_switched_on(script):
    module = nn.Sequential(
        nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Sequential(nn.Dropout2d(0.5)), nn.AlphaDropout(0.5)
    ).eval()
    if script:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            module = torch.jit.script(module)
    switch_on(module)
    names = [name for name, layer in module.named_modules() if layer.training]
    assert names == ["1", "2.0", "3"]


def test_recurrent_layers_and_attention_drop_too():
    module = nn.Sequential(make_recurrent(), nn.MultiheadAttention(2, 1, dropout=0.5)).eval()
    switch_on(module)
    assert all(layer.training for layer in module)


def test_samples_are_independent_and_leave_buffers_alone(tmp_path):
    torch.manual_seed(0)
    module = nn.BatchNorm1d(1000)
    mean = {name: value.detach().clone() for name, value in module.named_parameters()}
    moments = moments_of(tmp_path, mean, {name: value**2 + 1 for name, value in mean.items()})
    drawn = []
    for _ in range(2):
        draw(module, *moments)
        drawn.append(module.weight.detach().clone())
    assert torch.corrcoef(torch.stack(drawn))[0, 1].abs() < 0.1
    assert torch.equal(module.running_mean, torch.zeros(1000))


def test_a_second_moment_below_the_square_of_the_first_counts_as_no_spread(tmp_path):
    module = linear(0.0)
    moments = moments_of(
        tmp_path, {"weight": torch.full((1, 1), 2.0)}, {"weight": torch.full((1, 1), 3.9)}
    )
    draw(module, *moments)
    assert module.weight.item() == 2.0


def test_moments_of_another_model_are_refused(tmp_path):
    moments = moments_of(tmp_path, {"other": torch.ones(1)}, {"other": torch.ones(1)})
    with pytest.raises(JobRefused, match="not those of this model"):
        draw(linear(0.0), *moments)


def test_buffers_stay_also_where_moments_were_made_of_them():
    module = nn.BatchNorm1d(2)
    first = {name: values + 3 for name, values in module.state_dict().items() if values.dim()}
    draw(module, first, {name: values**2 for name, values in first.items()})
    assert module.weight.tolist() == [4, 4]
    assert (module.running_mean.tolist(), module.running_var.tolist()) == ([0, 0], [1, 1])
