"""Whole merges: real models in, a real model out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fl_archive.model import read_model
from fl_server_ai.aggregation.block import Block
from fl_server_ai.aggregation.errors import NoMean, NothingToMerge, Unusable
from fl_server_ai.aggregation.strategies import STRATEGIES
from fl_server_ai.aggregation.strategies.base import Combined
from fl_server_ai.aggregation.strategies.fed_avg import FedAvg
from tests.ai.aggregation.strategies.conftest import make

# TorchScript is on its way out of torch, but what clients send.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

SIZES = [3, 10, 1]


def make_model(seed: int) -> nn.Module:
    """Batch norm's counters, two types of floats, tied weights, masks, all shapes."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3, bias=False))
    model[2].weight = model[0].weight
    for module in (model, model[1]):
        for buffer in module.buffers(recurse=False):
            buffer.copy_(torch.rand(buffer.shape) * 100)
    for name, tensor in {
        "truths": torch.rand(7) > 0.5,
        "octets": torch.randint(0, 256, (5,), dtype=torch.uint8),
        "halves": (59_000 + 2000 * torch.rand(2, 3)).half(),
        "brains": torch.randn(4).bfloat16(),
        "doubles": torch.randn(300, 1, dtype=torch.float64),
        "complexes": torch.randn(3, dtype=torch.complex64),
        "a_scalar": torch.randn(()),
        "nothing": torch.empty(0, 4),
    }.items():
        model.register_buffer(name, tensor)
    return model


def save_eager(model: nn.Module, path: Path) -> None:
    torch.save(model, path)


def save_script(model: nn.Module, path: Path) -> None:
    torch.jit.script(model).save(str(path))


def load_state(path: Path) -> dict[str, Tensor]:
    """The state dict, by torch alone."""
    try:
        return dict(torch.jit.load(str(path)).state_dict())
    except RuntimeError:
        return dict(torch.load(path, weights_only=False).state_dict())


@pytest.fixture(params=[save_eager, save_script])
def template(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    request.param(make_model(0), tmp_path / "template")
    return tmp_path / "template"


@pytest.fixture
def write_state(template: Path, write_update: Callable) -> Callable:
    """Write a model's state as an update of the template: in its order, tied tensors once."""
    names = list(read_model(template).layout)

    def write(state: dict[str, Tensor], sample_size: int = 1):
        return write_update({name: state[name] for name in names}, sample_size)

    return write


def average_by_hand(states: list[dict[str, Tensor]], sizes: list[int]) -> dict[str, Tensor]:
    """The weighted mean in double precision, rounded to each tensor's type."""
    average = {}
    for name, like in states[0].items():
        exact = torch.complex128 if like.is_complex() else torch.float64
        parts = [state[name].to(exact) * size for state, size in zip(states, sizes, strict=True)]
        mean = torch.stack(parts).sum(0) / sum(sizes)
        if not like.is_floating_point() and not like.is_complex():
            mean = (mean + 0.5).floor()
        average[name] = mean.to(like.dtype)
    return average


@pytest.mark.parametrize("sizes", [[3, 10, 1], [0, 4, 0], [1, 10**9, 10], [2**60, 2**60, 2**61]])
def test_a_merged_model_is_the_average_of_the_state_dicts(
    template: Path, write_state: Callable, merged: Callable, sizes: list[int]
) -> None:
    states = [make_model(seed).state_dict() for seed in (1, 2, 3)]
    target = merged(template, list(map(write_state, states, sizes)))
    result = load_state(target)
    assert list(result) == list(load_state(template))
    for name, expected in average_by_hand(states, sizes).items():
        torch.testing.assert_close(result[name], expected, rtol=5e-7, atol=1e-7, msg=name)


def test_sample_sizes_of_zero_count_equally(
    template: Path, write_state: Callable, merged: Callable
) -> None:
    states = [make_model(seed).state_dict() for seed in (1, 2)]
    none = merged(template, [write_state(state, 0) for state in states]).read_bytes()
    same = merged(template, [write_state(state, 5) for state in states]).read_bytes()
    assert none == same


def test_tied_weights_stay_tied(template: Path, write_state: Callable, merged: Callable) -> None:
    target = merged(template, [write_state(make_model(1).state_dict())])
    archive = read_model(target)
    assert archive.tensors["2.weight"].alias_of == "0.weight"
    assert torch.equal(load_state(target)["2.weight"], make_model(1).state_dict()["0.weight"])


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_order_of_updates_is_of_no_consequence(
    template: Path, write_state: Callable, merged: Callable, name: str
) -> None:
    strategy = make(name)
    updates = [write_state(make_model(seed).state_dict(), seed) for seed in range(5)]
    updates.append(write_state(make_model(1).state_dict(), 9))
    one_way = merged(template, updates, strategy).read_bytes()
    assert merged(template, updates[::-1], strategy).read_bytes() == one_way


@pytest.mark.parametrize("name", STRATEGIES)
def test_updates_that_are_the_template_leave_it_as_it_is(
    template: Path, write_state: Callable, merged: Callable, name: str
) -> None:
    state = load_state(template)
    updates = [write_state(state, size) for size in SIZES]
    result = load_state(merged(template, updates, make(name)))
    assert all(torch.equal(result[name], state[name]) for name in state)


def test_values_lie_where_their_type_may(
    template: Path, write_state: Callable, merged: Callable
) -> None:
    class Spy(FedAvg):
        needs_global = True

        def combine(self, block: Block) -> Combined:
            seen = [*block.values, block.global_values]
            assert all(values.data_ptr() % values.element_size() == 0 for values in seen)
            return super().combine(block)

    merged(template, [write_state(make_model(seed).state_dict()) for seed in (1, 2)], Spy())


def test_many_blocks_are_merged_like_one(
    tmp_path: Path, write_update: Callable, merged: Callable
) -> None:
    save_eager(nn.Linear(1000, 701), tmp_path / "template")
    states = [nn.Linear(1000, 701).state_dict() for _ in range(2)]
    target = merged(tmp_path / "template", list(map(write_update, states, [2, 3])))
    for name, expected in average_by_hand(states, [2, 3]).items():
        torch.testing.assert_close(load_state(target)[name], expected, rtol=5e-7, atol=1e-8)


def test_no_updates_are_an_error(template: Path, merged: Callable) -> None:
    with pytest.raises(NothingToMerge):
        merged(template, [])


def test_updates_of_different_models_are_refused(
    template: Path, write_state: Callable, write_update: Callable, merged: Callable
) -> None:
    other = make_model(1).state_dict() | {"a_scalar": torch.zeros(1)}
    with pytest.raises(Unusable):
        merged(template, [write_state(make_model(1).state_dict()), write_state(other)])
    with pytest.raises(Unusable):
        merged(template, [write_update({"foreign": torch.zeros(1)})])


def test_a_damaged_update_is_refused(
    template: Path, write_state: Callable, merged: Callable
) -> None:
    update = write_state(make_model(1).state_dict())
    update.path.write_bytes(update.path.read_bytes()[:-1])
    with pytest.raises(Unusable, match="can't be read"):
        merged(template, [update])


def test_a_missing_update_is_an_os_error(
    template: Path, write_state: Callable, merged: Callable
) -> None:
    update = write_state(make_model(1).state_dict())
    update.path.unlink()
    with pytest.raises(FileNotFoundError):
        merged(template, [update])


@pytest.mark.parametrize("calls", [1, 7])
def test_an_aborted_merge_leaves_nothing_behind(
    template: Path, write_state: Callable, merged: Callable, tmp_path: Path, calls: int
) -> None:
    left = calls

    def abort() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        merged(template, [write_state(make_model(1).state_dict())], progress=abort)
    assert left == 0
    assert not (tmp_path / "merged").exists()


def test_buffers_that_are_no_numbers_stay_to_the_bit(
    template: Path, write_state: Callable, merged: Callable
) -> None:
    state = {name: value.clone() for name, value in load_state(template).items()}
    for name in ("halves", "brains", "doubles", "complexes", "1.running_mean"):
        state[name].view(-1)[::2] = torch.nan
    state["a_scalar"].fill_(-torch.inf)
    after = load_state(merged(template, [write_state(state, size) for size in SIZES]))
    for name, value in state.items():
        assert torch.equal(bits(after[name]), bits(value)), name


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def test_types_without_arithmetic_are_kept_or_refused(
    tmp_path: Path, write_update: Callable, merged: Callable
) -> None:
    model = nn.Linear(1, 1)
    ones = torch.ones(3, dtype=torch.uint8)
    model.register_buffer("packed", ones.view(torch.float4_e2m1fn_x2))
    save_eager(model, tmp_path / "template")
    state = model.state_dict()
    target = merged(tmp_path / "template", [write_update(state)] * 2)
    assert torch.equal(load_state(target)["packed"].view(torch.uint8), ones)
    other = write_update(state | {"packed": (ones * 2).view(torch.float4_e2m1fn_x2)})
    with pytest.raises(NoMean, match="packed"):
        merged(tmp_path / "template", [write_update(state), other])
