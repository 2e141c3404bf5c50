"""Which names an update may have, and what is said of others."""

import warnings
from itertools import product

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fl_archive import names
from fl_archive.errors import Mismatch
from fl_archive.model import read_model
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_moments, admit_update

from . import zoo


def build():
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)))


@pytest.fixture
def reference(tmp_path):
    zoo.save_script(build(), tmp_path / "model")
    with read_model(tmp_path / "model") as archive:
        yield archive


def admit(state, reference, tmp_path, save=torch.save):
    save(state, tmp_path / "update")
    admit_update(tmp_path / "update", reference, tmp_path / "numbers")


def numbers(tmp_path):
    with TensorFile(tmp_path / "numbers") as file:
        return {name: file.raw(name).tobytes() for name in file.tensors}


def refusal(state, reference, tmp_path):
    with pytest.raises(Mismatch) as caught:
        admit(state, reference, tmp_path)
    assert not (tmp_path / "numbers").exists()
    return str(caught.value)


# --- Prefixes ----------------------------------------------------------------------------

WRAPPED = {
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "Lightning": lambda name: f"model.{name}",
    "compiled in DataParallel": lambda name: f"module._orig_mod.{name}",
    "DataParallel, compiled": lambda name: f"_orig_mod.module.{name}",
    "all three": lambda name: f"model._orig_mod.module.{name}",
    "compiled in part": lambda name: name.replace("1.", "1._orig_mod.", 1),
    "compiled in part, in Lightning": lambda name: f"model.{name.replace('1.', '1._orig_mod.', 1)}",
}


@pytest.mark.parametrize("save", [torch.save, save_file])
@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_a_prefix_without_which_all_names_fit_is_taken_off(wrapped, save, reference, tmp_path):
    state = build().state_dict()
    admit({wrapped(name): tensor for name, tensor in state.items()}, reference, tmp_path, save)
    assert numbers(tmp_path) == {name: zoo.as_bytes(tensor) for name, tensor in state.items()}


def test_a_wrapped_module_is_an_update_too(reference, tmp_path):
    with warnings.catch_warnings(action="ignore"):
        module = nn.DataParallel(build())
    admit(module, reference, tmp_path)
    assert numbers(tmp_path)["0.bias"] == zoo.as_bytes(module.module[0].bias)


def test_a_prefix_of_the_models_own_names_stays(tmp_path):
    module = nn.ModuleDict({"model": nn.Linear(2, 2)})
    zoo.save_module(module, tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        admit(module.state_dict(), reference, tmp_path)
        wrapped = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
        admit(wrapped, reference, tmp_path)
        assert list(numbers(tmp_path)) == ["model.weight", "model.bias"]


def test_names_that_would_be_the_same_are_refused(reference, tmp_path):
    state = build().state_dict()
    state["module.0.bias"] = state["0.bias"] + 1
    assert "'module.0.bias', which the global model lacks" in refusal(state, reference, tmp_path)


def test_a_prefix_is_named_where_other_names_do_not_fit(reference, tmp_path):
    state = {f"module.{name}": tensor for name, tensor in build().state_dict().items()}
    del state["module.0.bias"]
    sentence = refusal(state | {"loss.weight": torch.ones(1)}, reference, tmp_path)
    assert "Names hold 'module.'" in sentence
    assert "lacks tensor '0.bias' of the global model." in sentence
    assert "holds tensor 'loss.weight', which the global model lacks." in sentence


def test_moments_may_have_a_prefix_too(reference, tmp_path):
    moments = {f"module.{name}": torch.rand_like(p) for name, p in build().named_parameters()}
    torch.save(moments, tmp_path / "moments")
    admit_moments(tmp_path / "moments", reference, tmp_path / "numbers")
    assert list(numbers(tmp_path)) == [name for name, _ in build().named_parameters()]


def test_only_the_most_frequent_prefixes_are_tried(reference, tmp_path, monkeypatch):
    tried = []
    spell = names._spell
    monkeypatch.setattr(names, "_spell", lambda *args: tried.append(args) or spell(*args))
    parts = ("module.", "model.", "_orig_mod.")
    chains = ["".join(chain) for length in (1, 2, 3) for chain in product(parts, repeat=length)]
    refusal({f"{chain}x": torch.ones(1) for chain in chains}, reference, tmp_path)
    assert len(tried) <= 2 + 2 * names.MAX_TRIED


# --- What is said ------------------------------------------------------------------------


def test_three_missing_tensors_are_named_and_the_others_counted(reference, tmp_path):
    sentence = refusal({"0.bias": torch.ones(2)}, reference, tmp_path)
    assert sentence == (
        "The file lacks tensors '0.weight', '1.0.weight', '1.0.bias' and 5 more of the global "
        "model."
    )


def test_one_missing_tensor_is_named_alone(reference, tmp_path):
    state = build().state_dict()
    del state["0.bias"]
    assert refusal(state, reference, tmp_path) == (
        "The file lacks tensor '0.bias' of the global model."
    )


def test_three_tensors_too_many_are_named_and_the_others_counted(reference, tmp_path):
    more = {f"more.{number}": torch.ones(1) for number in range(5)}
    assert refusal(build().state_dict() | more, reference, tmp_path) == (
        "The file holds tensors 'more.0', 'more.1', 'more.2' and 2 more, which the global model "
        "lacks."
    )


def test_three_shapes_and_types_are_named_and_the_others_counted(reference, tmp_path):
    state = {name: tensor.double()[..., None] for name, tensor in build().state_dict().items()}
    assert refusal(state, reference, tmp_path) == (
        "Tensor '0.weight' is F64 of shape [2, 2, 1]; the global model's is F32 of shape [2, 2]. "
        "Tensor '0.bias' is F64 of shape [2, 1]; the global model's is F32 of shape [2]. "
        "Tensor '1.0.weight' is F64 of shape [2, 1]; the global model's is F32 of shape [2]. "
        "6 more differ."
    )


def test_names_are_shown_short_and_without_control_characters(reference, tmp_path):
    state = build().state_dict() | {"\x1b[2J\n" + "x" * 500: torch.ones(1)}
    sentence = refusal(state, reference, tmp_path)
    assert sentence.isprintable()
    assert len(sentence) < 200


# --- Buffers that are state in TorchScript alone -----------------------------------------


class Masked(nn.Module):
    """Constants that aren't meant to persist, beside statistics."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("kept", torch.ones(3))
        self.register_buffer("mask", torch.full((3,), 2.0), persistent=False)
        self.register_buffer("places", torch.arange(3), persistent=False)

    def forward(self, x):
        return self.norm(self.layer(x)) * self.mask + self.kept + self.places


class Statistic(nn.Module):
    """With a buffer that its code doesn't change; of the classes below, it does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.ones(3))
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return torch.softmax(self.layer(x) * self.level, 1)


class InPlace(Statistic):
    def forward(self, x):
        self.level.mul_(0.9).add_(0.1 * x.mean(0))
        return self.layer(x)


class InPart(Statistic):
    def forward(self, x):
        self.level[0] = x.mean()
        return self.layer(x)


class Assigned(Statistic):
    def forward(self, x):
        self.level = self.level * 0.9
        return self.layer(x)


class Written(Statistic):
    def forward(self, x):
        return torch.add(x, 1, out=self.level)


class Normed(Statistic):
    def forward(self, x):
        return nn.functional.batch_norm(self.layer(x), self.level, self.level, training=True)


class Passed(Statistic):
    def forward(self, x):
        return x + change(self.level)


def change(level):
    return level.add_(1)


WRITERS = [InPlace, InPart, Assigned, Written, Normed, Passed]


@pytest.mark.parametrize("saver", [zoo.save_script, zoo.save_trace])
@pytest.mark.parametrize("save", [torch.save, save_file])
def test_buffers_that_only_a_script_keeps_may_be_missing(saver, save, tmp_path):
    module = Masked().eval()
    saver(module, tmp_path / "model")
    state = {name: tensor + 1 for name, tensor in module.state_dict().items()}
    assert not {"mask", "places"} & state.keys()
    with read_model(tmp_path / "model") as reference:
        admit(state, reference, tmp_path, save)
    expected = state | {"mask": module.mask, "places": module.places}
    assert numbers(tmp_path) == {name: zoo.as_bytes(value) for name, value in expected.items()}


@pytest.mark.parametrize("saver", [zoo.save_script, zoo.save_trace])
@pytest.mark.parametrize("name", ["norm.running_mean", "norm.num_batches_tracked", "layer.bias"])
def test_statistics_and_parameters_may_not_be_missing(name, saver, tmp_path):
    module = Masked().eval()
    saver(module, tmp_path / "model")
    state = module.state_dict()
    del state[name]
    with read_model(tmp_path / "model") as reference:
        assert f"lacks tensor '{name}'" in refusal(state, reference, tmp_path)


@pytest.mark.parametrize("kind", WRITERS)
def test_what_the_models_own_code_changes_may_not_be_missing(kind, tmp_path):
    zoo.save_script(kind(), tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        state = dict(kind().named_parameters())
        assert "lacks tensor 'level'" in refusal(state, reference, tmp_path)


def test_what_it_does_not_change_may_be_missing(tmp_path):
    zoo.save_script(Statistic(), tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        admit(dict(Statistic().named_parameters()), reference, tmp_path)


@pytest.mark.parametrize(("kind", "missing"), [(nn.Sequential, True), (nn.Linear, False)])
def test_of_torchs_own_classes_only_containers_may_have_such_buffers(kind, missing, tmp_path):
    module = kind(nn.Linear(3, 3)) if kind is nn.Sequential else kind(3, 3)
    module.register_buffer("mask", torch.ones(3), persistent=False)
    zoo.save_script(module, tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        assert reference.tensors["mask"].is_fixed is missing


def test_parameters_alone_are_no_update_of_a_model_with_statistics(reference, tmp_path):
    assert refusal(dict(build().named_parameters()), reference, tmp_path).endswith(
        "Send the whole state_dict() of the model as it is downloaded."
    )
