"""Models of many kinds, as people write them, and the code that torch saves for them."""

import enum
import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Point(NamedTuple):
    values: Tensor
    count: int


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@torch.jit.script
class Store:
    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[Tensor] = []

    def put(self, value: Tensor) -> int:
        self.kept.append(value)
        self.size += 1
        return self.size


@torch.jit.interface
class Layer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pass


def twice(x: Tensor, by: int = 2) -> Tensor:
    return x * by


class Positive(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


class Kitchen(nn.Module):
    """A bit of everything that TorchScript has."""

    layer: Layer
    names: Final[list[str]]

    def __init__(self) -> None:
        super().__init__()
        self.layer = Positive()
        self.names = ["a", "b"]
        self.scales = {"x": 1.0}
        self.listed = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.named = nn.ModuleDict({"q": nn.Linear(4, 4)})
        self.colour = Colour.RED
        self.text = "hé\n\"'# type: \\ x"
        self.resize = nn.Identity()  # the name of an operator that is withheld
        self.register_buffer("shift", torch.ones(4))

    @torch.jit.export
    def other(self, x: Tensor | None, table: dict[str, list[int]]) -> tuple[int, str]:
        if x is None:
            return 1, "nothing is not inside"
        assert x.dim() == 2, f"bad dim {x.dim()}"
        for key, row in table.items():
            if (len(row) > 3 and "a" in table) or key not in table:
                table[key] = row[1:]
        return x.size(0), "a{}b".format(3)  # noqa: UP032 - formatted by the operator

    @torch.jit.ignore
    def ignored(self, x):
        return x

    @torch.jit.unused
    def unused(self, x: int) -> int:
        return x

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        store = Store(2)
        count = store.put(x)
        point = Point(x, count)
        for layer in self.listed:
            x = layer(x)
        for _, layer in self.named.items():  # noqa: PERF102 - has no values() in TorchScript
            x = self.resize(layer(x)) + x
        i = 0
        while i < count:
            x = self.layer(x)
            i += 1
            if i > 5:
                break
            if x.sum() > 1e9:
                continue
        y = twice(x)
        parts = [part * 2 for part in [x, y]]
        if self.colour == Colour.RED:
            y = y + 1
        y = y[:, 0:2, None][..., -1] * self.shift.mean()
        x[0] = 1
        x[:, 1] += 2
        with torch.no_grad():
            x = x * float("inf")
        text = " ".join(["a", "b"]).upper() + self.text[1:2]
        total = int(x.sum()) + len(parts) + point.count // 2 + (3 if self.training else 4)
        print(text, total)  # noqa: T201
        if self.training and total > 1000:
            raise ValueError("bad " + text)
        return {"x": x, "y": y, "z": parts[0] * total * self.scales["x"]}


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8, max_norm=1.0)
        self.lstm = nn.LSTM(8, 8, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(x), lengths, batch_first=True)
        y, (_h, _c) = self.lstm(packed)
        z, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return self.out(z[:, -1])


class Noise(nn.Module):
    """Memory that is filled at once, in the ways that layer libraries do it."""

    def forward(self, x: Tensor, hidden: tuple[int, int] | None = None) -> tuple[Tensor, complex]:
        noise = torch.empty(x.size(), dtype=x.dtype, device=x.device)
        noise = noise.bernoulli_(0.5)
        y = x.new_empty((x.size(0), 1)).bernoulli_(0.3)
        z = torch.empty_like(x).exponential_().log()
        w = torch.empty(3).fill_(0.5).div_(0.3)
        v = functional.gumbel_softmax(x)
        a = 0
        if hidden is not None:
            a, _ = hidden
        return noise + y + z + w.sum() + v * a, (1 + 2j) * (2 - 3j)


class Gradient(nn.Module):
    def forward(self, x: Tensor, colour: Colour = Colour.RED) -> tuple[Tensor, str]:
        x = x.clone().requires_grad_()
        gradient = torch.autograd.grad([(x * x).sum()], [x])[0]
        name = "x" if colour.value == 1 else colour.name
        return x if gradient is None else gradient, name


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.GroupNorm(1, 4),
        nn.Upsample(scale_factor=2.0),
        nn.Dropout(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Linear(16, 3),
        nn.LogSoftmax(1),
    )


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, dropout=0.0), 2)


SCRIPTED: Mapping[str, Callable[[], nn.Module]] = {
    "a bit of everything": Kitchen,
    "packed LSTM": Words,
    "noise": Noise,
    "gradient": Gradient,
    "convolutions": convolutions,
    "encoder": encoder,
    "transformer": lambda: nn.Transformer(8, 2, 1, 1),
    "attention": lambda: nn.MultiheadAttention(8, 2),
    "GRU": lambda: nn.GRU(3, 4),
    "LSTM cell": lambda: nn.LSTMCell(3, 4),
}
MODELS: Mapping[str, Callable[[], torch.jit.ScriptModule]] = {
    **{name: lambda make=make: torch.jit.script(make()) for name, make in SCRIPTED.items()},
    "traced convolutions": lambda: torch.jit.trace(convolutions(), torch.ones(2, 3, 8, 8)),
    "traced encoder": lambda: torch.jit.trace(encoder(), torch.ones(3, 2, 8)),
    "traced LSTM": lambda: torch.jit.trace(nn.LSTM(3, 4), torch.ones(5, 2, 3)),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(convolutions()).eval()),
}


def saved(model: torch.jit.ScriptModule) -> dict[str, bytes]:
    """The members of a saved archive, without the name of its folder."""
    data = io.BytesIO()
    torch.jit.save(model, data)
    archive = zipfile.ZipFile(data)
    return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def code_of(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The code members."""
    return {n: data for n, data in members.items() if n.startswith("code/") and n.endswith(".py")}
