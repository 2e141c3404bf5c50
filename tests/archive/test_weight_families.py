"""What people have, as weights alone: taken in, trained for a round, loaded again by what made it.

`python -m benchmarks.families` tries whole libraries that are too large to be installed here.
"""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from sklearn.linear_model import LogisticRegression, SGDClassifier
from torch import nn

from benchmarks.families.trying import ADMITTED, Family, attempts
from fl_archive.admission import admit_model
from fl_archive.part import WHOLE, Part
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update
from fl_archive.writer import with_rest, write_model
from tests.vision import import_torchvision


class UNet(nn.Module):
    """Down, up, and what is remembered in between."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d(2))
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.head = nn.Conv2d(5, 1, 1)


class Language(nn.Module):
    """An LSTM whose decoder is its embedding, as in language models."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 8, 2, batch_first=True)
        self.decoder = nn.Linear(8, 20)
        self.decoder.weight = self.embedding.weight


class Adapted(nn.Module):
    """A linear layer and a low-rank addition to it, named as PEFT does."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer, rank = nn.Linear(6, 5), 2
        self.lora_A = nn.ModuleDict({"default": nn.Linear(6, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, 5, bias=False)})


def transformer():
    layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).bfloat16()


def many():
    """Several thousand tensors, as in mixtures of experts."""
    return nn.ModuleList(nn.Linear(1, 1) for _ in range(3000))


MODULES = {
    "U-Net": UNet,
    "LSTM, tied": Language,
    "LoRA": Adapted,
    "transformer, bf16": transformer,
    "thousands": many,
    "double": lambda: nn.GRU(3, 4).double(),
}
TORCHVISION = {"resnet18", "mobilenet_v3_small", "vit_b_16", "shufflenet_v2_x0_5"}


@pytest.mark.parametrize("name", MODULES)
def test_a_modules_weights_are_trained_and_loaded_again(name):
    family = Family(name, MODULES[name], tuple)
    outcome = dict(attempts(family, ways=["weights"]))["weights"]
    assert outcome.verdict == ADMITTED, outcome.why


def test_so_are_those_of_torchvision():
    import_torchvision()
    from benchmarks.families.torchvision_models import families

    found = [family for family in families() if family.name in TORCHVISION]
    assert len(found) >= 3
    for family in found:
        outcome = dict(attempts(family, ways=["weights"]))["weights"]
        assert outcome.verdict == ADMITTED, (family.name, outcome.why)


def trained(arrays, tmp_path, part=WHOLE, update=None):
    """Save arrays, take them in, take an update in, write the next version; return its arrays."""
    save_arrays(arrays, tmp_path / "model")
    save_arrays(arrays if update is None else update, tmp_path / "update")
    with admit_model(tmp_path / "model", tmp_path / "admitted", code=False) as model:
        part.check(model)
        admit_update(tmp_path / "update", model, tmp_path / "numbers", part)
        with TensorFile(tmp_path / "numbers") as numbers:
            values = with_rest(model, ((name, numbers.raw(name)) for name in numbers.tensors))
            write_model(tmp_path / "admitted", tmp_path / "next", values)
    return load_arrays(tmp_path / "next")


@pytest.mark.parametrize("kind", [LogisticRegression, SGDClassifier])
def test_scikit_learns_coefficients_are_weights(kind, tmp_path):
    dice = np.random.default_rng(0)
    inputs, labels = dice.normal(size=(60, 4)), dice.integers(0, 3, 60)
    fitted = kind(max_iter=200, tol=0.1).fit(inputs, labels)
    # Some estimators keep them by columns, which safetensors would write as they lie.
    arrays = {"coef_": np.ascontiguousarray(fitted.coef_), "intercept_": fitted.intercept_}
    back, other = trained(arrays, tmp_path), kind()
    other.coef_, other.intercept_, other.classes_ = back["coef_"], back["intercept_"], np.arange(3)
    assert (other.predict(inputs) == fitted.predict(inputs)).all()


def test_a_tree_of_arrays_as_jax_has_them_is_weights_by_paths(tmp_path):
    tree = {"params": {"Dense_0": {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2)}}}
    tree["params"]["temperature"] = np.array(0.5, np.float32)
    tree["batch_stats"] = {"BatchNorm_0": {"mean": np.zeros(2, np.float16)}, "step": np.array(7)}
    flat = dict(paths(tree))
    assert "params/Dense_0/kernel" in flat
    back = trained(flat, tmp_path)
    assert {name: (a.dtype, a.tolist()) for name, a in back.items()} == {
        name: (a.dtype, a.tolist()) for name, a in flat.items()
    }


def paths(tree, before=""):
    for name, branch in tree.items():
        if isinstance(branch, dict):
            yield from paths(branch, f"{before}{name}/")
        else:
            yield f"{before}{name}", branch


def test_of_an_adapted_model_the_adapters_alone_are_trained(tmp_path):
    torch.manual_seed(0)
    module = Adapted()
    arrays = {name: values.numpy() for name, values in module.state_dict().items()}
    adapters = {name: array + 1 for name, array in arrays.items() if "lora_" in name}
    back = trained(arrays, tmp_path, Part(["*lora_*"]), adapters)
    assert (back["base_layer.weight"] == arrays["base_layer.weight"]).all()
    assert all((back[name] == array).all() for name, array in adapters.items())


@pytest.mark.parametrize("name", ["a.b.c", "a/b/c", "päth/ü.weight", "with space", "0", "a" * 500])
def test_names_are_whatever_a_framework_gives(name, tmp_path):
    assert list(trained({name: np.ones(2, np.float32)}, tmp_path)) == [name]
