"""Modules of every class that may be named, as their constructors make them, and what they take."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.families.torch_nn import (
    BODY,
    IMAGE,
    LINE,
    PAIR,
    ROW,
    STEPS,
    TOKENS,
    Packed,
    families,
    real,
)
from tests.vision import declare_operators

Inputs = Callable[[], tuple[Any, ...]]
SELF = lambda: (torch.rand(2, 5, 4),) * 3  # noqa: E731 - entries of tables
CLASSES = lambda: (torch.rand(2, 4), torch.tensor([1, 2]))  # noqa: E731
TWO_STEPS = lambda: (torch.rand(5, 2, 4),) * 2  # noqa: E731
PICTURE = lambda: (torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8),)  # noqa: E731
FLOATS = real((3, 16, 16))


class Genuine(NamedTuple):
    name: str
    make: Callable[[], nn.Module]
    inputs: Inputs


def layer(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, **options)


def bag(**options: Any) -> nn.Module:
    return nn.EmbeddingBag(9, 4, **options)


VARIANTS: list[tuple[Callable[[], nn.Module], Inputs]] = [
    (lambda: nn.Module(), ROW),
    (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)), ROW),
    (lambda: nn.ModuleList([nn.Linear(4, 3)]), ROW),
    (lambda: nn.ModuleDict({"a": nn.Linear(4, 3)}), ROW),
    (lambda: nn.ParameterList([torch.rand(3), 7]), ROW),
    (lambda: nn.ParameterDict({"a": torch.rand(3), "b": 7}), ROW),
    (lambda: nn.Linear(4, 3, bias=False), ROW),
    (lambda: nn.modules.linear.NonDynamicallyQuantizableLinear(4, 3), ROW),
    (lambda: nn.Bilinear(4, 4, 3, bias=False), PAIR),
    (lambda: nn.Embedding(9, 4, padding_idx=-1, max_norm=1.0), TOKENS),
    (lambda: nn.Embedding(9, 4, sparse=True, scale_grad_by_freq=False), TOKENS),
    (lambda: bag(mode="max", padding_idx=2), TOKENS),
    (
        lambda: bag(mode="sum", include_last_offset=True),
        lambda: (torch.arange(6), torch.tensor([0, 3, 6])),
    ),
    (lambda: nn.Conv1d(4, 6, 3, 2, "valid", groups=2), LINE),
    (lambda: nn.Conv2d(4, 6, (3, 1), (2, 1), (1, 2), 2, 2, bias=False), IMAGE),
    (lambda: nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), IMAGE),
    (
        lambda: nn.Conv2d(4, 6, (2, 3), padding="same", dilation=(3, 1), padding_mode="circular"),
        IMAGE,
    ),
    (lambda: nn.Conv3d(4, 4, 3, padding=(1, 0, 2), padding_mode="replicate"), BODY),
    (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, dilation=(1, 2)), IMAGE),
    (lambda: nn.BatchNorm2d(4, affine=False, momentum=None), IMAGE),
    (lambda: nn.BatchNorm1d(4, track_running_stats=False), ROW),
    (lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), IMAGE),
    (lambda: nn.GroupNorm(4, 4, affine=False), IMAGE),
    (lambda: nn.LayerNorm((4, 8), elementwise_affine=False), LINE),
    (lambda: nn.LayerNorm([8], bias=False), LINE),
    (lambda: nn.RMSNorm((4, 8), eps=1e-3), LINE),
    (lambda: nn.PReLU(4), ROW),
    (lambda: nn.MaxPool2d((2, 3), (1, 2), (1, 1), return_indices=True), IMAGE),
    (lambda: nn.AvgPool2d((2, 3), divisor_override=3, count_include_pad=False), IMAGE),
    (lambda: nn.LPPool2d(1.5, (2, 3), stride=2), IMAGE),
    (lambda: nn.AdaptiveAvgPool2d((None, 3)), IMAGE),
    (lambda: nn.AdaptiveMaxPool3d((2, None, 1), return_indices=True), BODY),
    (lambda: nn.FractionalMaxPool2d((2, 3), output_ratio=(0.5, 0.6)), IMAGE),
    (
        lambda: nn.FractionalMaxPool2d(2, output_size=3, _random_samples=torch.rand(2, 4, 2)),
        IMAGE,
    ),
    (lambda: nn.FractionalMaxPool3d(2, output_ratio=0.5), BODY),
    (lambda: nn.ConstantPad2d((1, -1, 0, 2), 0.5), IMAGE),
    (lambda: nn.Upsample((5, 6), mode="bilinear", align_corners=True), IMAGE),
    (lambda: nn.Upsample(scale_factor=(1.5, 2), mode="area"), IMAGE),
    (lambda: nn.Upsample(scale_factor=2, mode="nearest-exact", recompute_scale_factor=True), BODY),
    (lambda: nn.Upsample(7, mode="linear"), LINE),
    (lambda: nn.Fold((4, 5), (2, 3), 1, (1, 0), (2, 1)), real((2, 12, 9))),
    (lambda: nn.Unfold((2, 3), 1, 1, (2, 1)), IMAGE),
    (lambda: nn.Unflatten(1, torch.Size([2, -1])), ROW),
    (lambda: nn.Dropout(0), ROW),
    (lambda: nn.Hardtanh(-1, float("inf")), ROW),
    (lambda: nn.LSTM(4, 3, 2, bias=False, dropout=0.5, batch_first=True), STEPS),
    (lambda: nn.LSTM(4, 3, 2, bidirectional=True, proj_size=2), STEPS),
    (lambda: nn.LSTM(4, 3, bias=False, proj_size=2), STEPS),
    (lambda: nn.GRU(4, 3, 3, bidirectional=True), STEPS),
    (lambda: nn.RNN(4, 3, 2, nonlinearity="relu", bias=False), STEPS),
    (lambda: nn.RNNBase("GRU", 4, 3), STEPS),
    (lambda: nn.LSTMCell(4, 3, bias=False), ROW),
    (lambda: nn.RNNCell(4, 3, nonlinearity="relu"), ROW),
    (lambda: nn.modules.rnn.RNNCellBase(4, 3, True, 2), ROW),
    (lambda: nn.MultiheadAttention(4, 2, batch_first=True), SELF),
    (lambda: nn.MultiheadAttention(4, 4, bias=False, add_bias_kv=True, add_zero_attn=True), SELF),
    (
        lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=6),
        lambda: (torch.rand(5, 2, 4), torch.rand(6, 2, 3), torch.rand(6, 2, 6)),
    ),
    (layer, real((2, 5, 4))),
    (lambda: layer(activation="gelu", norm_first=True, bias=False), real((2, 5, 4))),
    (lambda: layer(activation=nn.SiLU()), real((2, 5, 4))),
    (lambda: nn.TransformerDecoderLayer(4, 2, 8, norm_first=True), TWO_STEPS),
    (
        lambda: nn.TransformerEncoder(layer(), 2, nn.LayerNorm(4)),
        lambda: (torch.rand(2, 5, 4), None, torch.arange(5).expand(2, 5) > 2),
    ),
    (lambda: nn.Transformer(4, 2, 1, 1, 8, batch_first=True), TWO_STEPS),
    (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [2, 5], head_bias=True), CLASSES),
    (lambda: nn.LinearCrossEntropyLoss(4, 3), CLASSES),
    (lambda: nn.CrossEntropyLoss(torch.rand(4), label_smoothing=0.1, ignore_index=0), CLASSES),
    (lambda: nn.NLLLoss(torch.rand(4), reduction="sum"), CLASSES),
    (lambda: nn.BCELoss(torch.rand(4)), PAIR),
    (lambda: nn.BCEWithLogitsLoss(torch.rand(4), pos_weight=torch.rand(4)), PAIR),
    (lambda: nn.MultiMarginLoss(2, weight=torch.rand(4)), CLASSES),
    (lambda: nn.MultiLabelSoftMarginLoss(torch.rand(4)), PAIR),
    (lambda: nn.KLDivLoss(reduction="batchmean", log_target=True), PAIR),
    (
        lambda: nn.TripletMarginWithDistanceLoss(distance_function=nn.CosineSimilarity()),
        real((2, 4), (2, 4), (2, 4)),
    ),
]

TRANSFORMS: dict[str, tuple[Any, ...]] = {
    "CenterCrop": (8,),
    "ClampBoundingBoxes": (),
    "ConvertBoundingBoxFormat": ("XYXY",),
    "ElasticTransform": (50.0, 1.0),
    "FiveCrop": ((8, 9),),
    "GaussianBlur": (3, 1.5),
    "JPEG": (50,),
    "LinearTransformation": (torch.eye(768), torch.zeros(768)),
    "Normalize": ([0.5], [0.5]),
    "Pad": ((2, 3),),
    "RandomAdjustSharpness": (2.0,),
    "RandomAffine": (10, (0.1, 0.2), (0.5, 1), 5),
    "RandomCrop": (8, 2),
    "RandomPosterize": (3,),
    "RandomResize": (8, 12),
    "RandomResizedCrop": (8,),
    "RandomRotation": (30,),
    "RandomShortestSize": ([8, 9], 20),
    "RandomSolarize": (0.5,),
    "Resize": ([8, 9],),
    "ScaleJitter": ((8, 8),),
    "SetClampingMode": ("soft",),
    "TenCrop": (8,),
    "ToDtype": (torch.float32, True),
    "UniformTemporalSubsample": (2,),
    "ColorJitter": (0.1, 0.2, (0.5, 1.5), 0.1),
}
CONTAINERS = ("Compose", "RandomApply", "RandomChoice", "RandomOrder")
ON_FLOATS = ("GaussianNoise", "LinearTransformation", "Normalize")


def transforms() -> Iterator[Genuine]:
    declare_operators()
    from torchvision.transforms import v2
    from torchvision.tv_tensors import Image

    named = [value for value in vars(v2).values() if isinstance(value, type)]
    for made in named:
        name = made.__name__
        if not issubclass(made, nn.Module) or name in (
            "Lambda",
            "MixUp",
            "CutMix",
            "SanitizeKeyPoints",
        ):
            continue
        given = (
            ([v2.RandomHorizontalFlip(), v2.ToImage()],)
            if name in CONTAINERS
            else TRANSFORMS.get(name, ())
        )
        inputs = FLOATS if name in ON_FLOATS else PICTURE
        yield Genuine(f"v2.{name}", lambda made=made, given=given: made(*given), inputs)
    yield Genuine("v2.Resize, one", lambda: v2.Resize(8, max_size=20), PICTURE)
    yield Genuine(
        "v2.RandomApply, list", lambda: v2.RandomApply(nn.ModuleList([v2.ToImage()])), PICTURE
    )
    yield Genuine(
        "v2.ToDtype, by type", lambda: v2.ToDtype({Image: torch.float32, "others": None}), PICTURE
    )
    yield Genuine("v2.Pad, by type", lambda: v2.Pad(2, {Image: 3, "others": (1, 2, 3)}), PICTURE)
    yield Genuine("v2.RandomErasing, random", lambda: v2.RandomErasing(1, value="random"), FLOATS)


def genuine() -> list[Genuine]:
    """Each with small sizes; a class that isn't torch's own would need its code."""
    found = [Genuine(*vars(each).values()) for each in families() if each.make is not Packed]
    for number, (make, inputs) in enumerate(VARIANTS):
        found.append(Genuine(f"variant {number}", make, inputs))
    return [*found, *transforms()]
