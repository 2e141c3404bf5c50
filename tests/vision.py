"""torchvision, where it is installed."""

from types import ModuleType

import pytest
import torch

SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_torchvision() -> ModuleType:
    """Import torchvision or skip the test."""
    declare_operators()
    return pytest.importorskip("torchvision", reason="torchvision is not installed")


def declare_operators() -> None:
    """For the import: torchvision's compiled part fits one build of torch.

    Beside another it would look in vain for operators that no transform uses.
    """
    for operator, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, operator.partition("::")[2]):
            torch.library.define(operator, schema)
