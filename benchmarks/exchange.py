"""What goes over the wire, and what is lost on it: fewer bits, differences, the largest of them.

    python -m benchmarks.exchange
    python -m benchmarks.exchange --data-dir mnist

Five clients train a network for scikit-learn's digits, or for MNIST's, in twenty rounds, once for
each way of sending. They are simulated in this process; what they would send is written and read by
the server's own functions, and merged by NumPy in float32. Prints a table: docs/exchange.md has it.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from backports import zstd
from safetensors.numpy import load_file, save_file
from sklearn.datasets import load_digits
from torch import from_numpy, nn
from torch.nn.functional import cross_entropy

from fl_archive.encoded import INDICES, VALUES, Encoding, Wire, decode_update
from fl_archive.model import read_model
from fl_archive.narrowed import write_narrowed

sys.path += map(str, [Path(__file__).parent, Path(__file__).parents[1] / "examples" / "digits"])
from data import split
from idx import Samples, read_mnist

State = dict[str, np.ndarray]

CLIENTS, ROUNDS, HIDDEN, BATCH, RATE = 5, 20, 128, 64, 0.3


@dataclass(frozen=True)
class Way:
    """How the model goes down and an update up; of a `topk` update that share of the elements."""

    label: str
    down: str = ""
    up: str = ""
    encoding: Encoding = Encoding.STATE
    share: float = 1


WAYS = [
    Way("float32"),
    Way("float16", down="float16", up="float16"),
    Way("bfloat16", down="bfloat16", up="bfloat16"),
    Way("int8", down="int8", up="int8"),
    Way("differences in int8", down="float16", up="int8", encoding=Encoding.DELTA),
    Way("largest 10 % of the differences", encoding=Encoding.TOPK, share=0.1),
    Way("largest 1 % of the differences", encoding=Encoding.TOPK, share=0.01),
]


@dataclass(frozen=True)
class Task:
    """What is learned: each client's samples, the common test, and epochs in a round."""

    clients: Sequence[Samples]
    test: Samples
    epochs: int


# On the wire.


def download(model: Path, dtype: str) -> Path:
    """Write the model as it goes down."""
    return narrowed(model, model.with_name("down"), dtype)


def upload(before: State, after: State, way: Way, folder: Path) -> Path:
    """Write what a client hands in that has trained the one to the other."""
    content = after
    if way.encoding != Encoding.STATE:
        content = {name: after[name] - before[name] for name in after}
    if way.encoding == Encoding.TOPK:
        content = dict(largest(content, way.share))
    save_file(content, folder / "update")
    return narrowed(folder / "update", folder / "up", way.up)


def narrowed(source: Path, target: Path, dtype: str) -> Path:
    """Write a file's tensors in fewer bits."""
    with read_model(source) as model:
        write_narrowed(model, target, dtype)
    return target


def largest(state: State, share: float) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the elements of greatest magnitude of each tensor: where they are, and what."""
    for name, values in state.items():
        flat, count = values.reshape(-1), max(round(values.size * share), 1)
        indices = np.sort(np.argpartition(-np.abs(flat), count - 1)[:count])
        yield name + INDICES, indices.astype(np.int32)
        yield name + VALUES, flat[indices]


def received(file: Path, model: Path, wire: Wire) -> State:
    """Return the weights that a file stands for."""
    decoded = model.with_name("decoded")
    with read_model(model) as base:
        decode_update(file, base, decoded, wire)
    return load_file(decoded)


# Learning.


def network(pixels: int) -> nn.Module:
    """Return a perceptron with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))


def with_weights(state: State) -> nn.Module:
    """Return the network that has these weights."""
    module = network(state["1.weight"].shape[1])
    module.load_state_dict({name: from_numpy(values) for name, values in state.items()})
    return module


def weights_of(module: nn.Module) -> State:
    """Return a network's weights."""
    return {name: values.detach().numpy() for name, values in module.state_dict().items()}


def train(state: State, samples: Samples, epochs: int) -> State:
    """Return the weights after these epochs of gradient descent."""
    module, (x, y) = with_weights({name: v.copy() for name, v in state.items()}), samples
    optimizer = torch.optim.SGD(module.parameters(), RATE)
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
    return weights_of(module)


@torch.no_grad()
def accuracy(state: State, samples: Samples) -> float:
    """Return the share of the images whose digit is found."""
    x, y = samples
    return (with_weights(state)(x).argmax(dim=1) == y).float().mean().item()


def mean(states: Sequence[State], task: Task) -> State:
    """Merge in float32, weighted by the samples."""
    sizes = np.array([len(y) for _, y in task.clients], np.float32)
    shares = sizes / sizes.sum()
    return {
        name: sum(share * state[name] for share, state in zip(shares, states, strict=True))
        for name in states[0]
    }


# Measuring.


def federate(task: Task, way: Way, folder: Path) -> tuple[list[int], float]:
    """Train so; return the bytes down, up and up by zstd of a client's round, and the accuracy."""
    torch.manual_seed(0)
    model, sizes = folder / "model", []
    save_file(weights_of(network(task.test[0][0].numel())), model)
    for _ in range(ROUNDS):
        down, states = download(model, way.down), []
        start = received(down, model, Wire(Encoding.STATE, way.down))
        for samples in task.clients:
            up = upload(start, train(start, samples, task.epochs), way, folder)
            content = up.read_bytes()
            sizes.append([down.stat().st_size, len(content), len(zstd.compress(content))])
            states.append(received(up, model, Wire(way.encoding, way.up)))
        save_file(mean(states, task), model)
    return np.mean(sizes, axis=0).round().astype(int).tolist(), accuracy(
        load_file(model), task.test
    )


def errors(task: Task, folder: Path) -> list[float]:
    """Return how far a merge is from that in float32, by the way up, in parts of its change.

    The first round's, of the same updates.
    """
    torch.manual_seed(0)
    model, before = folder / "model", weights_of(network(task.test[0][0].numel()))
    save_file(before, model)
    trained = [train(before, samples, task.epochs) for samples in task.clients]
    exact = mean(trained, task)

    def error(way: Way) -> float:
        wire = Wire(way.encoding, way.up)
        states = [received(upload(before, one, way, folder), model, wire) for one in trained]
        return distance(mean(states, task), exact) / distance(before, exact)

    return [error(way) for way in WAYS]


def distance(one: State, other: State) -> float:
    """Return the L2 norm of the difference."""
    return float(np.sqrt(sum(np.square(one[name] - other[name]).sum() for name in one)))


# The data.


def digits_task() -> Task:
    """Return scikit-learn's digits, every fifth for testing."""
    found = load_digits()
    x = from_numpy((found.images[:, None] / 16).astype(np.float32))
    y = from_numpy(found.target.astype(np.int64))
    tested = torch.arange(len(y)) % 5 == 0
    return Task(shared_out(x[~tested], y[~tested]), (x[tested], y[tested]), epochs=5)


def mnist_task(folder: Path) -> Task:
    """Return MNIST."""
    return Task(shared_out(*read_mnist(folder, "train")), read_mnist(folder, "t10k"), epochs=1)


def shared_out(x: torch.Tensor, y: torch.Tensor) -> list[Samples]:
    """Split samples among the clients, with a skew as the example's data have it."""
    return [(x[part], y[part]) for part in map(from_numpy, split(y.numpy(), CLIENTS, seed=0))]


def main() -> None:
    """Train in each way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="MNIST as gzipped IDX, instead of digits")
    folder = parser.parse_args().data_dir
    torch.set_num_threads(1)
    task = mnist_task(folder) if folder else digits_task()
    print("| sent as | bytes down | up | up, by zstd | error of a merge | accuracy |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        for way, error in zip(WAYS, errors(task, Path(name)), strict=True):
            sizes, found = federate(task, way, Path(name))
            cells = [way.label, *(f"{size:,}" for size in sizes), f"{error:.1g}", f"{found:.3f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
