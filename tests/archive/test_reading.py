import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fl_archive import dtypes
from fl_archive.admission import admit_model
from fl_archive.errors import Refused
from fl_archive.model import read_model

from . import zoo


def expect_state(archive, state):
    assert list(archive.tensors) == list(state)
    for name, tensor in state.items():
        spec = archive.tensors[name]
        assert spec.dtype == dtypes.TORCH[str(tensor.dtype).removeprefix("torch.")]
        assert spec.shape == tuple(tensor.shape)
        assert archive.raw(name).tobytes() == zoo.as_bytes(tensor)


@pytest.mark.parametrize("saver", zoo.TORCH_SAVERS)
@pytest.mark.parametrize("name", zoo.ALL)
def test_reads_the_state_that_torch_has_after_loading(name, saver, tmp_path):
    path = tmp_path / "model.pt"
    zoo.TORCH_SAVERS[saver](zoo.build(name), path)
    loaded = zoo.load(path)
    state = loaded if saver == "state_dict" else loaded.state_dict()
    with read_model(path) as archive:
        expect_state(archive, state)
        assert archive.format == ("torchscript" if saver == "trace" else saver)
        if saver != "state_dict":
            assert archive.parameters == [name for name, _ in loaded.named_parameters()]


LEAVES = st.sampled_from(
    [
        lambda: nn.Linear(2, 2),
        lambda: nn.BatchNorm1d(2),
        lambda: nn.LSTM(2, 2),
        lambda: nn.Embedding(3, 2),
        lambda: nn.LayerNorm(2, elementwise_affine=False),
        lambda: nn.MultiheadAttention(2, 1, bias=False),
        lambda: nn.ParameterList([torch.ones(1), torch.ones(2)]),
        nn.ReLU,
    ]
)
NAMES = st.text("abcü _-0", min_size=1, max_size=3)
TREES = st.recursive(
    LEAVES.map(lambda make: make()),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda modules: nn.Sequential(*modules))
        | st.lists(inner, max_size=3).map(nn.ModuleList)
        | st.dictionaries(NAMES, inner, max_size=3).map(nn.ModuleDict)
        | inner.map(lambda module: nn.ModuleList([module, module]))
    ),
    max_leaves=8,
)


@given(TREES, st.data())
@settings(max_examples=60)
def test_reads_random_trees(tmp_path_factory, tree, data):
    modules = [module for module in tree.modules() if isinstance(module, nn.Linear)]
    if len(modules) > 1 and data.draw(st.booleans()):
        modules[-1].weight = modules[0].weight
    if data.draw(st.booleans()):
        tree.register_buffer("kept", torch.rand(2))
        tree.register_buffer("passing", torch.rand(2), persistent=False)
    path = tmp_path_factory.mktemp("tree") / "m"
    torch.save(tree, path)
    with read_model(path) as archive:
        expect_state(archive, tree.state_dict())
        assert archive.parameters == [name for name, _ in tree.named_parameters()]
        assert archive.trainable == any(True for _ in tree.parameters())


def test_parameters_that_cannot_be_averaged_make_no_model_trainable(tmp_path):
    packed = torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    module = nn.ParameterList([nn.Parameter(packed, requires_grad=False)])
    torch.save(module, tmp_path / "m")
    with read_model(tmp_path / "m") as archive:
        assert archive.parameters == ["0"]
        assert not archive.trainable


class Attributed(nn.Module):
    """Tensors with attributes of their own, which torch saves in another way."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3))
        self.weight.note = "kept by torch"
        self.buffer = nn.Buffer(torch.rand(3))
        self.passing = nn.Buffer(torch.rand(3), persistent=False)


def test_reads_tensors_with_attributes(tmp_path):
    module = Attributed()
    torch.save(module, tmp_path / "m")
    classes = [(Attributed.__module__, "Attributed")]
    with admit_model(tmp_path / "m", tmp_path / "admitted", extra_globals=classes) as archive:
        expect_state(archive, module.state_dict())
    after = zoo.load(tmp_path / "admitted")
    assert after.weight.note == "kept by torch"
    assert torch.equal(after.passing, module.passing)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.LazyLinear(3), "lazy"),
        (lambda: nn.Linear(3, 3, device="meta"), "meta"),
        (lambda: nn.ParameterList([torch.zeros(2, 2).to_sparse()]), "sparse"),
        (lambda: nn.ParameterList([torch.ones(2, dtype=torch.complex64).conj()]), "conjugate"),
        (lambda: nn.ParameterList([torch.ones(1).expand(3)]), "overlap"),
    ],
)
def test_refuses_with_a_reason(make, reason, tmp_path):
    torch.save(make(), tmp_path / "m")
    with pytest.raises(Refused, match=reason):
        read_model(tmp_path / "m")
