"""Modules of many kinds, ways to save them, and what torch says of them."""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bool,
    torch.complex32,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]


def some(dtype: torch.dtype, *shape: int) -> Tensor:
    """Varied finite values of any dtype."""
    values = torch.arange(1, 1 + int(np.prod(shape))).reshape(shape) % 2
    return values.to(dtype)


class Net(nn.Module):
    """Parameters, buffers of both kinds, plain tensors, missing ones."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.scale = nn.Parameter(torch.rand(4))
        self.register_parameter("absent", None)
        self.register_buffer("kept", torch.rand(4))
        self.register_buffer("passing", torch.rand(4), persistent=False)
        self.register_buffer("nothing", None)
        self.plain = torch.rand(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x)) * self.scale + self.kept + self.passing + self.plain


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.again = self.first
        self.memory = nn.Linear(3, 3)
        self.memory.weight = nn.Parameter(self.first.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        return self.memory(self.again(self.second(self.first(x))))


class Views(nn.Module):
    """Slices of one storage: with offsets, steps and permuted dimensions."""

    def __init__(self) -> None:
        super().__init__()
        base = torch.rand(60)
        self.head = nn.Parameter(base[:12].view(3, 4))
        self.even = nn.Parameter(base[12:24:2])
        self.odd = nn.Parameter(base[13:24:2])
        self.turned = nn.Parameter(base[24:36].view(3, 4).t())
        self.register_buffer("part", base[40:42])

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.head @ self.turned + self.even.sum() + self.odd.sum() + self.part.sum()


class Odd(nn.Module):
    """Empty and 0-d tensors, names that are no identifiers, None among children."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.scalar = nn.Parameter(torch.tensor(2.5))
        self.map = nn.ModuleDict({"a b": nn.Linear(3, 3), "0": nn.Identity()})
        self.list = nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU()))])
        self.params = nn.ParameterList([torch.rand(3), torch.rand(3)])
        self.none = None

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.list:
            x = layer(x)
        return x * self.scalar


class Dtypes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for dtype in DTYPES:
            self.register_buffer("as_" + str(dtype).removeprefix("torch."), some(dtype, 2, 3))
        self.weight = nn.Parameter(torch.rand(3).half())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.float()


def lstm() -> nn.Module:
    return nn.Sequential(nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    return nn.Sequential(nn.Linear(3, 4), nn.TransformerEncoder(layer, 2))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)),
        nn.Conv1d(1, 2, 2),
        nn.BatchNorm1d(2),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def channels_last() -> nn.Module:
    net = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 4, 3, padding=1), nn.Flatten())
    return net.to(memory_format=torch.channels_last)


# Each takes an input of shape (5, 3).
STOCK: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(3, 2),
    "conv": conv,
    "channels_last": channels_last,
    "lstm": lstm,
    "gru": lambda: nn.Sequential(nn.GRU(3, 4)),
    "encoder": encoder,
    "embedding": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 3), nn.Dropout()),
    "half": lambda: nn.Linear(3, 2).bfloat16().float().double().to(torch.float32),
    "none": nn.ReLU,
}
OWN: dict[str, Callable[[], nn.Module]] = {
    "net": Net,
    "tied": Tied,
    "views": Views,
    "odd": Odd,
    "dtypes": Dtypes,
}
ALL = STOCK | OWN


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return ALL[name]().eval()


def save_module(module: nn.Module, path: Path) -> None:
    torch.save(module, path)


def save_state(module: nn.Module, path: Path) -> None:
    torch.save(module.state_dict(), path)


def save_script(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # deprecated, and what clients use
        torch.jit.save(torch.jit.script(module), path)


def save_trace(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.trace(module, torch.rand(5, 3)), path)


def save_frozen(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.freeze(torch.jit.script(module)), path)


def save_quantized(path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 3)))
        torch.jit.save(torch.jit.script(module), path)


def save_safetensors(module: nn.Module, path: Path) -> None:
    seen: set[int] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        if tensor.numel() and tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        tensors[name] = tensor.contiguous().clone()
    save_file(tensors, path)


TORCH_SAVERS = {
    "module": save_module,
    "state_dict": save_state,
    "torchscript": save_script,
    "trace": save_trace,
}


def load(path: Path) -> nn.Module:
    """What a participant would do."""
    scripted = any(name.endswith("/constants.pkl") for name in zipfile.ZipFile(path).namelist())
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.load(path) if scripted else torch.load(path, weights_only=False)


def load_weights(path: Path) -> dict[str, Tensor]:
    """What a participant would do with weights alone."""
    is_zip = path.read_bytes()[:2] == b"PK"
    return torch.load(path, weights_only=True) if is_zip else load_file(path)


def as_bytes(tensor: Tensor) -> bytes:
    tensor = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def train(path: Path, update: Path) -> nn.Module:
    """What a participant would do: load the model, change its floats, save it."""
    module = load(path)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.dtype in (torch.float32, torch.float64):
                tensor.mul_(0.75).add_(0.5)
    if isinstance(module, torch.jit.ScriptModule):
        with warnings.catch_warnings(action="ignore"):
            torch.jit.save(module, update)
    else:
        torch.save(module, update)
    return module
