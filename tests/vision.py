"""torchvision, where it is installed."""

from types import ModuleType

import pytest
import torch

SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_torchvision() -> ModuleType:
    """Import torchvision or skip the test.

    Its compiled part fits one build of torch; beside another the import looks in vain for
    operators that no transform uses, unless they are declared.
    """
    for operator, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, operator.partition("::")[2]):
            torch.library.define(operator, schema)
    return pytest.importorskip("torchvision")
