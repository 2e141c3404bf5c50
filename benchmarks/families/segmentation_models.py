"""The decoders of segmentation_models_pytorch on a small encoder."""

from collections.abc import Iterator

import segmentation_models_pytorch as smp

from benchmarks.families.torch_nn import real
from benchmarks.families.trying import Family

DECODERS = (
    "DeepLabV3 DeepLabV3Plus FPN Linknet MAnet PAN PSPNet Segformer UPerNet Unet UnetPlusPlus"
)
ENCODERS = "resnet18 mobilenet_v2 efficientnet-b0 timm-regnetx_002 mit_b0 tu-convnext_atto"


def families() -> Iterator[Family]:
    """Each decoder on a ResNet, and a U-Net on each encoder."""
    for name in DECODERS.split():
        yield Family(
            name,
            lambda n=name: getattr(smp, n)("resnet18", encoder_weights=None),
            real((1, 3, 64, 64)),
        )
    for name in ENCODERS.split()[1:]:
        yield Family(
            f"Unet on {name}",
            lambda n=name: smp.Unet(n, encoder_weights=None),
            real((1, 3, 64, 64)),
        )
    yield Family(
        "DPT",
        lambda: smp.DPT("tu-vit_tiny_patch16_224", encoder_weights=None),
        real((1, 3, 224, 224)),
    )
