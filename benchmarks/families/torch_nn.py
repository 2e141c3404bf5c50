"""Every module of torch.nn that computes something."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.families.trying import Family

Inputs = Callable[[], tuple[object, ...]]


def real(*shapes: tuple[int, ...]) -> Inputs:
    """Numbers between 0 and 1."""
    return lambda: tuple(torch.rand(shape) for shape in shapes)


ROW, LINE, IMAGE, BODY = real((2, 4)), real((2, 4, 8)), real((2, 4, 8, 8)), real((2, 4, 8, 8, 8))
GRIDS = {1: LINE, 2: IMAGE, 3: BODY}
TOKENS: Inputs = lambda: (torch.randint(0, 9, (2, 5)),)  # noqa: E731 - a table's entry
CLASSES: Inputs = lambda: (torch.rand(2, 4), torch.tensor([1, 3]))  # noqa: E731
SIGNS: Inputs = lambda: (torch.rand(2, 4), torch.ones(2, 4))  # noqa: E731
PAIR, TRIPLE = real((2, 4), (2, 4)), real((2, 4), (2, 4), (2, 4))
STEPS = real((5, 2, 4))
ACTIVATIONS = (
    "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid "
    "Mish PReLU ReLU ReLU6 RReLU SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink "
    "Dropout AlphaDropout FeatureAlphaDropout Flatten"
)
ON_GRIDS: dict[str, tuple[object, ...]] = {
    "AdaptiveAvgPool": (2,),
    "AdaptiveMaxPool": (2,),
    "AvgPool": (2,),
    "BatchNorm": (4,),
    "CircularPad": (1,),
    "ConstantPad": (1, 0.5),
    "Conv": (4, 3, 3),
    "ConvTranspose": (4, 3, 3),
    "Dropout": (),
    "InstanceNorm": (4,),
    "LPPool": (2, 2),
    "MaxPool": (2,),
    "ReflectionPad": (1,),
    "ReplicationPad": (1,),
    "ZeroPad": (1,),
}


class Packed(nn.Module):
    """Sequences of several lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The sequences, filled up."""
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


OTHERS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "Linear": (lambda: nn.Linear(4, 3), ROW),
    "Bilinear": (lambda: nn.Bilinear(4, 4, 3), PAIR),
    "Embedding": (lambda: nn.Embedding(9, 4), TOKENS),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(9, 4), TOKENS),
    "LayerNorm": (lambda: nn.LayerNorm(4), ROW),
    "RMSNorm": (lambda: nn.RMSNorm(4), ROW),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGE),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), IMAGE),
    "CrossMapLRN2d": (lambda: nn.CrossMapLRN2d(2), IMAGE),
    "Softmax": (lambda: nn.Softmax(1), ROW),
    "Softmin": (lambda: nn.Softmin(1), ROW),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), ROW),
    "Softmax2d": (nn.Softmax2d, IMAGE),
    "Threshold": (lambda: nn.Threshold(0.1, 0.2), ROW),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 2)), ROW),
    "Fold": (lambda: nn.Fold((4, 4), 2), real((2, 16, 9))),
    "Unfold": (lambda: nn.Unfold(2), IMAGE),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), IMAGE),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), IMAGE),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), IMAGE),
    "Upsample, bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE),
    "Upsample, nearest": (lambda: nn.Upsample(size=(5, 5)), IMAGE),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(scale_factor=2), IMAGE),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=2), IMAGE),
    "FractionalMaxPool2d": (lambda: nn.FractionalMaxPool2d(2, output_size=3), IMAGE),
    "FractionalMaxPool3d": (lambda: nn.FractionalMaxPool3d(2, output_size=3), BODY),
    "CosineSimilarity": (nn.CosineSimilarity, PAIR),
    "PairwiseDistance": (nn.PairwiseDistance, PAIR),
    "RNN": (lambda: nn.RNN(4, 3, 2), STEPS),
    "GRU": (lambda: nn.GRU(4, 3), STEPS),
    "GRU, bidirectional": (lambda: nn.GRU(4, 3, 2, bidirectional=True, batch_first=True), STEPS),
    "LSTM": (lambda: nn.LSTM(4, 3, 2), STEPS),
    "LSTM, bidirectional": (lambda: nn.LSTM(4, 3, bidirectional=True), STEPS),
    "LSTM, projected": (lambda: nn.LSTM(4, 3, proj_size=2), STEPS),
    "LSTM, packed": (Packed, lambda: (torch.rand(2, 5, 4), torch.tensor([5, 3]))),
    "RNNCell": (lambda: nn.RNNCell(4, 3), ROW),
    "GRUCell": (lambda: nn.GRUCell(4, 3), ROW),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), ROW),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), lambda: (torch.rand(5, 2, 4),) * 3),
    "Transformer": (lambda: nn.Transformer(4, 2, 1, 1, 8), lambda: (torch.rand(5, 2, 4),) * 2),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2),
        STEPS,
    ),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2),
        lambda: (torch.rand(5, 2, 4),) * 2,
    ),
    "AdaptiveLogSoftmaxWithLoss": (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3]), CLASSES),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, lambda: (*PAIR(), torch.ones(2))),
    "CrossEntropyLoss": (nn.CrossEntropyLoss, CLASSES),
    "CTCLoss": (
        nn.CTCLoss,
        lambda: (
            torch.rand(6, 2, 4).log_softmax(2),
            torch.tensor([[1, 2], [3, 1]]),
            torch.tensor([6, 6]),
            torch.tensor([2, 2]),
        ),
    ),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, TRIPLE),
    "MarginRankingLoss": (nn.MarginRankingLoss, lambda: (*PAIR(), torch.ones(2, 4))),
    "MultiLabelMarginLoss": (
        nn.MultiLabelMarginLoss,
        lambda: (torch.rand(2, 4), torch.tensor([[1, -1, 0, 0], [2, 3, -1, 0]])),
    ),
    "MultiMarginLoss": (nn.MultiMarginLoss, CLASSES),
    "NLLLoss": (nn.NLLLoss, CLASSES),
    "TripletMarginLoss": (nn.TripletMarginLoss, TRIPLE),
    "TripletMarginWithDistanceLoss": (nn.TripletMarginWithDistanceLoss, TRIPLE),
}
PAIR_LOSSES = "BCELoss BCEWithLogitsLoss HuberLoss KLDivLoss L1Loss MSELoss PoissonNLLLoss"
SIGN_LOSSES = "HingeEmbeddingLoss MultiLabelSoftMarginLoss SmoothL1Loss SoftMarginLoss"


def pooled(dimensions: int) -> tuple[Tensor, ...]:
    """What a MaxPool gives and a MaxUnpool takes."""
    (x,) = GRIDS[dimensions]()
    return getattr(nn, f"MaxPool{dimensions}d")(2, return_indices=True)(x)


def families() -> Iterator[Family]:
    """Each with small shapes."""
    for kind, arguments in ON_GRIDS.items():
        for dimensions, inputs in GRIDS.items():
            name = f"{kind}{dimensions}d"
            yield Family(name, lambda n=name, a=arguments: getattr(nn, n)(*a), inputs)
    for dimensions in GRIDS:
        name = f"MaxUnpool{dimensions}d"
        yield Family(name, lambda n=name: getattr(nn, n)(2), lambda d=dimensions: pooled(d))
    for name in ACTIVATIONS.split():
        yield Family(name, getattr(nn, name), ROW)
    for name, (make, inputs) in OTHERS.items():
        yield Family(name, make, inputs)
    for names, inputs in ((PAIR_LOSSES, PAIR), (SIGN_LOSSES, SIGNS)):
        for name in names.split():
            yield Family(name, getattr(nn, name), inputs)
