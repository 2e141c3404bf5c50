"""What holds for every method."""

import warnings

import pytest
import torch
from torch import nn

from fl_server_ai.failures import JobRefused
from fl_server_ai.uncertainty.registry import METHODS

SAMPLING = [name for name in METHODS if name != "NONE"]
SPREAD = {"variance", "std"}
ENTROPIES = {"predictive_entropy", "expected_entropy", "mutual_info"}


def scripted(module):
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return torch.jit.script(module)


def network(*end):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4), *end)


def varied(predict, method, batch, *end, make=lambda module: module, **options):
    """Predict such that passes differ, whatever makes them."""
    other = network(*end).requires_grad_(False)
    for parameter in other.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    return predict(method, make(network(*end)), batch, others=[make(other)], std=0.3, **options)


@pytest.mark.parametrize("make", [lambda module: module, scripted], ids=["module", "script"])
@pytest.mark.parametrize("method", SAMPLING)
def test_spread_has_the_outputs_shape_and_is_not_negative(predict, method, make):
    prediction = varied(predict, method, torch.randn(5, 3), make=make)
    assert prediction.inference.shape == (5, 4)
    assert prediction.uncertainty.keys() == SPREAD
    variance, std = prediction.uncertainty["variance"], prediction.uncertainty["std"]
    assert (variance > 0).all()
    assert torch.allclose(std**2, variance)


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 2), (5, 3, 2, 2)])
@pytest.mark.parametrize("method", SAMPLING)
def test_entropies_are_over_classes_whatever_the_rank(predict, method, shape, softmax):
    module = nn.Identity() if softmax else nn.Softmax(1)
    prediction = predict(method, module, torch.randn(shape), softmax=softmax)
    assert prediction.uncertainty.keys() == SPREAD | ENTROPIES
    for name in ENTROPIES:
        assert prediction.uncertainty[name].shape == (shape[0], *shape[2:])


@pytest.mark.parametrize("method", SAMPLING)
def test_probabilities_of_zero_and_one_have_no_entropy(predict, method):
    prediction = predict(method, nn.Identity(), torch.eye(3))
    for name in ENTROPIES:
        assert torch.equal(prediction.uncertainty[name], torch.zeros(3))


@pytest.mark.parametrize("method", SAMPLING)
def test_outputs_outside_of_zero_to_one_have_no_entropies(predict, method):
    assert predict(method, nn.Identity(), torch.tensor([[0.5, 1.5]])).uncertainty.keys() == SPREAD
    assert predict(method, nn.Identity(), torch.tensor([[0.5, -0.1]])).uncertainty.keys() == SPREAD
    assert predict(method, nn.Identity(), torch.tensor([0.5, 0.5])).uncertainty.keys() == SPREAD


@pytest.mark.parametrize("method", SAMPLING)
def test_nothing_varies_where_the_weights_do_not(predict, method):
    still = nn.Sequential(nn.Linear(3, 4), nn.Softmax(1))
    batch = torch.randn(5, 3)
    prediction = predict(method, still, batch, others=[still])
    assert torch.allclose(prediction.uncertainty["variance"], torch.zeros(5, 4), atol=1e-12)
    assert torch.allclose(prediction.inference, still(batch))
    assert (prediction.uncertainty["mutual_info"] < 1e-6).all()


@pytest.mark.parametrize("method", SAMPLING)
def test_information_splits_the_entropy(predict, method):
    told = varied(predict, method, torch.randn(5, 3), nn.Softmax(1)).uncertainty
    both = told["expected_entropy"] + told["mutual_info"]
    assert torch.allclose(told["predictive_entropy"], both, atol=1e-6)
    assert (told["mutual_info"] > 0).all()


@pytest.mark.parametrize("method", [name for name in SAMPLING if not METHODS[name].members])
def test_a_single_sample_has_no_variance(predict, method):
    prediction = varied(predict, method, torch.randn(5, 3), samples=1)
    assert torch.equal(prediction.uncertainty["variance"], torch.zeros(5, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
@pytest.mark.parametrize("method", SAMPLING)
def test_outputs_of_any_real_type_are_averaged_in_float(predict, method, dtype):
    batch = torch.ones(2, 3, dtype=dtype)
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    prediction = predict(method, nn.Identity(), batch)
    assert prediction.inference.dtype == prediction.uncertainty["std"].dtype == wanted


@pytest.mark.parametrize("method", METHODS)
def test_the_model_and_the_input_stay_as_they_were(predict, method):
    module = network().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    batch = torch.randn(5, 3)
    copy = batch.clone()
    inplace = nn.Sequential(nn.ReLU(inplace=True), module)
    predict(method, inplace, batch, others=[inplace], std=0.3)
    assert torch.equal(batch, copy)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_an_output_that_is_no_real_tensor_is_refused(predict, method):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    for module, batch in ((Pair(), torch.ones(1, 2)), (nn.Identity(), torch.ones(1, 2) * 1j)):
        with pytest.raises(JobRefused, match="not a tensor of real numbers"):
            predict(method, module, batch)


class Gives(nn.Module):
    """Gives what a function makes of the input."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    "make",
    [
        torch.Tensor.to_sparse,
        lambda x: x.to("meta"),
        lambda x: torch.nested.as_nested_tensor([x[0], x[1, :1]]),
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
    ],
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_tensors_of_unusual_kinds_are_refused(predict, method, make, softmax):
    module = Gives(make)
    with pytest.raises(JobRefused, match="not a tensor of real numbers"):
        predict(method, module, torch.eye(2), others=[module], softmax=softmax)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint16, torch.uint64, torch.float8_e5m2])
@pytest.mark.parametrize("method", METHODS)
def test_types_without_arithmetic_are_numbers_as_well(predict, method, dtype):
    module = Gives(lambda x: x.to(dtype))
    prediction = predict(method, module, torch.eye(2), others=[module])
    right = [0, 1] if method == "NONE" else [[1, 0], [0, 1]]
    assert prediction.inference.tolist() == right


@pytest.mark.parametrize("softmax", [False, True])
def test_none_tells_the_likeliest_class_again_and_again(predict, softmax):
    batch = torch.randn(5, 3)
    first, second = (predict("NONE", network(), batch, softmax=softmax) for _ in range(2))
    assert torch.equal(first.inference, second.inference)
    assert torch.equal(first.inference, network().eval()(batch).argmax(1))
    assert first.uncertainty == {}


def test_none_needs_classes(predict):
    for batch in (torch.ones(3), torch.ones(3, 0)):
        with pytest.raises(JobRefused, match="no dimension of classes"):
            predict("NONE", nn.Identity(), batch)
