"""Preprocessing made of torchvision's transforms, as actors upload it."""

import pytest
import torch
from torch import nn

from fl_archive.admission import admit_model
from fl_archive.errors import NotAModel, Refused
from tests.vision import import_torchvision


@pytest.fixture(scope="module")
def v2():
    import_torchvision()
    from torchvision.transforms import v2

    return v2


def steps(v2):
    return [
        v2.Resize((8, 8), antialias=True),
        v2.Grayscale(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5], [0.25]),
    ]


@pytest.mark.parametrize("container", ["Compose", "Sequential"])
def test_transforms_are_admitted_and_work_as_before(v2, tmp_path, container):
    module = v2.Compose(steps(v2)) if container == "Compose" else nn.Sequential(*steps(v2))
    torch.save(module, tmp_path / "source")
    admit_model(tmp_path / "source", tmp_path / "admitted")
    image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    loaded = torch.load(tmp_path / "admitted", weights_only=False)
    assert torch.equal(loaded(image), module(image))


def test_transforms_that_hold_enums_are_admitted(v2, tmp_path):
    module = nn.Sequential(v2.AutoAugment(), v2.RandomRotation(3), v2.Resize((8, 8)))
    torch.save(module, tmp_path / "source")
    admit_model(tmp_path / "source", tmp_path / "admitted")
    loaded = torch.load(tmp_path / "admitted", weights_only=False)
    assert loaded[0].policy is module[0].policy


def test_the_first_versions_compose_is_no_module(v2, tmp_path):
    from torchvision import transforms

    torch.save(transforms.Compose([transforms.ToTensor()]), tmp_path / "source")
    with pytest.raises(NotAModel, match=r"^Loaded torch object is not of expected type\.$"):
        admit_model(tmp_path / "source", tmp_path / "admitted")


def test_a_transform_that_calls_any_function_is_refused(v2, tmp_path):
    torch.save(v2.Compose([v2.Lambda(torch.nn.functional.relu)]), tmp_path / "source")
    with pytest.raises(Refused, match="not admitted"):
        admit_model(tmp_path / "source", tmp_path / "admitted")
