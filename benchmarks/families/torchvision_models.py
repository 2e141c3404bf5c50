"""The smallest of each of torchvision's kinds, for images, videos and objects in images."""

from collections.abc import Iterator

import torch
from torchvision.models import get_model

from benchmarks.families.torch_nn import Inputs, real
from benchmarks.families.trying import Family

IMAGES = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 "
    "maxvit_t mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 "
    "resnet50 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11_bn vit_b_32"
)
SEGMENTATIONS = "deeplabv3_mobilenet_v3_large fcn_resnet50 lraspp_mobilenet_v3_large"
VIDEOS = "mc3_18 mvit_v2_s r2plus1d_18 s3d swin3d_t"
OBJECTS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn fcos_resnet50_fpn keypointrcnn_resnet50_fpn "
    "maskrcnn_resnet50_fpn retinanet_resnet50_fpn ssd300_vgg16 ssdlite320_mobilenet_v3_large"
)


def families() -> Iterator[Family]:
    """Without weights."""
    for name in IMAGES.split():
        size = {"inception_v3": 299, "maxvit_t": 224, "vit_b_32": 224}.get(name, 96)
        yield family(name, real((1, 3, size, size)))
    for name in SEGMENTATIONS.split():
        yield family(name, real((1, 3, 96, 96)), weights_backbone=None)
    for name in VIDEOS.split():
        yield family(name, real((1, 3, 16, 224, 224)))
    for name in OBJECTS.split():
        yield family(name, lambda: ([torch.rand(3, 96, 96)],), weights_backbone=None)
    yield family("raft_small", real(*[(1, 3, 128, 128)] * 2))


def family(name: str, inputs: Inputs, **options: None) -> Family:
    """By torchvision's own name."""
    return Family(name, lambda: get_model(name, weights=None, **options), inputs)
