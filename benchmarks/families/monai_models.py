"""MONAI's networks for medical images, in two dimensions where they have a choice."""

from collections.abc import Callable, Iterator

from monai.networks import nets
from torch import nn

from benchmarks.families.torch_nn import Inputs, real
from benchmarks.families.trying import Family

FLAT = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
IMAGE, BODY = real((1, 1, 32, 32)), real((1, 1, 32, 32, 32))
NETS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "AttentionUnet": (lambda: nets.AttentionUnet(**FLAT, channels=(4, 8), strides=(2,)), IMAGE),
    "AutoEncoder": (lambda: nets.AutoEncoder(**FLAT, channels=(4, 8), strides=(2, 2)), IMAGE),
    "AutoencoderKL": (
        lambda: nets.AutoencoderKL(
            2,
            channels=(8, 8),
            num_res_blocks=(1, 1),
            attention_levels=(False, True),
            latent_channels=2,
            norm_num_groups=4,
        ),
        IMAGE,
    ),
    "BasicUNet": (lambda: nets.BasicUNet(2, 1, 2, features=(4, 4, 8, 8, 16, 4)), IMAGE),
    "BasicUNetPlusPlus": (
        lambda: nets.BasicUNetPlusPlus(2, 1, 2, features=(4, 4, 8, 8, 16, 4)),
        IMAGE,
    ),
    "DenseNet121": (lambda: nets.DenseNet121(**FLAT), IMAGE),
    "DynUNet": (lambda: nets.DynUNet(2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2]), IMAGE),
    "EfficientNetBN": (
        lambda: nets.EfficientNetBN("efficientnet-b0", False, spatial_dims=2, in_channels=1),
        IMAGE,
    ),
    "FullyConnectedNet": (lambda: nets.FullyConnectedNet(4, 2, (8,)), real((2, 4))),
    "HighResNet": (lambda: nets.HighResNet(**FLAT), IMAGE),
    "MedNeXtSmall": (lambda: nets.MedNeXtSmall(**FLAT), IMAGE),
    "ResNet18": (
        lambda: nets.resnet18(spatial_dims=2, n_input_channels=1, num_classes=2),
        IMAGE,
    ),
    "SegResNet": (lambda: nets.SegResNet(2, 8, 1, 2), IMAGE),
    "SEResNet50": (
        lambda: nets.SEResNet50(spatial_dims=2, in_channels=1, num_classes=2),
        IMAGE,
    ),
    "SwinUNETR": (lambda: nets.SwinUNETR(1, 2, feature_size=12), real((1, 1, 64, 64, 64))),
    "UNet": (lambda: nets.UNet(**FLAT, channels=(4, 8, 16), strides=(2, 2)), IMAGE),
    "UNETR": (
        lambda: nets.UNETR(1, 2, (32, 32, 32), 4, hidden_size=24, mlp_dim=48, num_heads=4),
        BODY,
    ),
    "ViT": (
        lambda: nets.ViT(
            1,
            (32, 32),
            (16, 16),
            hidden_size=24,
            mlp_dim=48,
            num_layers=2,
            num_heads=4,
            classification=True,
            spatial_dims=2,
        ),
        IMAGE,
    ),
    "VNet": (lambda: nets.VNet(spatial_dims=2, in_channels=1, out_channels=2), IMAGE),
    "VQVAE": (
        lambda: nets.VQVAE(
            2,
            1,
            1,
            channels=(8, 8),
            num_res_channels=(8, 8),
            num_res_layers=1,
            downsample_parameters=((2, 4, 1, 1),) * 2,
            upsample_parameters=((2, 4, 1, 1, 0),) * 2,
        ),
        IMAGE,
    ),
}


def families() -> Iterator[Family]:
    """Small ones."""
    for name, (make, inputs) in NETS.items():
        yield Family(name, make, inputs)
