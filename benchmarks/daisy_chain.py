"""A daisy chain (FedDC) against federated averaging where each client has hardly any data.

    python benchmarks/daisy_chain.py

Fifty clients hold eight handwritten digits each and train a small network; the merged model is
tested on the others. Clients are simulated, all of them at once; what they trained is written to
files and merged by the server's own `merge`. With --tune it tries learning rates, on seeds that
the comparison doesn't use. docs/aggregation.md says what came out.
"""

import argparse
import hashlib
import math
import os
import random
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

CLIENTS, SAMPLES = 50, 8
PIXELS, WIDTH, DIGITS = 64, 32, 10
STEPS = 20
"""Steps of gradient descent in a local round, each on all of a client's samples."""
SEEDS = range(5)
TUNING_SEEDS = range(100, 103)
RATES = (0.05, 0.1, 0.15, 0.2, 0.3)

Weights = dict[str, Tensor]
"""By name, of all clients at once: the first dimension counts them."""


@dataclass(frozen=True)
class Method:
    """Merge after every `period`-th local round; `chained`, permute the models after others."""

    label: str
    period: int
    chained: bool
    learning_rate: float


@dataclass(frozen=True)
class Plan:
    """What all methods have in common; models are tested after every `period`-th local round."""

    rounds: int
    period: int
    hidden: int

    def methods(self, learning_rate: float) -> list[Method]:
        """The daisy chain, after averaging with as many transfers and with as few merges."""
        often = f"merges every {self.period}th"
        return [
            Method("FedAvg, merges every local round", 1, False, learning_rate),
            Method(f"FedAvg, {often}", self.period, False, learning_rate),
            Method(f"FedDC, {often}", self.period, True, learning_rate),
        ]


def main() -> None:
    """Compare, or tune."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="local rounds")
    parser.add_argument("--period", type=int, default=10, help="options.daisy_chain_period")
    parser.add_argument("--hidden", type=int, default=4, help="layers of the network")
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--plot", type=Path, default=Path("docs/images/daisy_chain.png"))
    parser.add_argument("--tune", action="store_true", help="try learning rates instead")
    args = parser.parse_args()
    plan = Plan(args.rounds, args.period, args.hidden)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "fl_server.settings", "FL_DATA_DIR": folder}
        os.environ["FL_DEVICE"] = "cpu"
        if args.tune:
            tune(plan)
        else:
            compare(plan, args.learning_rate, args.plot)


def tune(plan: Plan) -> None:
    """Print each method's final accuracy for each learning rate, on the seeds for tuning.

    NaN stands where a client's weights grew beyond all bounds.
    """
    print(f"{'learning rate':34}", *(f"{rate:5}" for rate in RATES))
    for tried in zip(*map(plan.methods, RATES), strict=True):
        found = simulate_all(plan, tried, TUNING_SEEDS)[:, :, -1].mean(axis=1)
        print(f"{tried[0].label:34}", *(f"{end:.3f}" for end in found), flush=True)


def compare(plan: Plan, learning_rate: float, picture: Path) -> None:
    """Print the final accuracies and what the last method gains, and plot the way there."""
    compared = plan.methods(learning_rate)
    found = simulate_all(plan, compared, SEEDS)
    print(f"{'':34}   mean    min    max   the last method gains, seed by seed")
    for method, ends in zip(compared, found[:, :, -1], strict=True):
        gains = " ".join(f"{gain:+.3f}" for gain in found[-1, :, -1] - ends)
        figures = f"{ends.mean():.3f}  {ends.min():.3f}  {ends.max():.3f}"
        print(f"{method.label:34}  {figures}   {gains if method is not compared[-1] else ''}")
    plot(compared, found, plan.period, picture)


def simulate_all(plan: Plan, compared: Sequence[Method], seeds: Sequence[int]) -> np.ndarray:
    """Return accuracies as methods x seeds x tests."""
    jobs = [(plan, method, seed) for method in compared for seed in seeds]
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        curves = list(pool.map(simulate, *zip(*jobs, strict=True)))
    return np.reshape(curves, (len(compared), len(seeds), -1))


def simulate(plan: Plan, method: Method, seed: int) -> list[float]:
    """Return the merged model's accuracy in each test; NaN if it diverges."""
    x, y, test_x, test_y = split(seed)
    dice = random.Random(seed)
    accuracies = []
    with tempfile.TemporaryDirectory() as folder:
        weights = begin(Path(folder), plan.hidden, seed)
        for number in range(1, plan.rounds + 1):
            weights = train(weights, x, y, method.learning_rate)
            if not all(value.isfinite().all() for value in weights.values()):
                return [math.nan] * (plan.rounds // plan.period)
            if number % method.period == 0:
                weights = merged(Path(folder), weights)
            elif method.chained:
                weights = permuted(weights, dice)
            if number % plan.period == 0:
                accuracies.append(accuracy(weights, test_x, test_y))
    return accuracies


def split(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the clients' images and digits, clients x samples, and those of nobody."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    x = torch.from_numpy((digits.data[order] / 16).astype(np.float32))
    y = torch.from_numpy(digits.target[order].astype(np.int64))
    held = CLIENTS * SAMPLES
    mine = x[:held].view(CLIENTS, SAMPLES, -1), y[:held].view(CLIENTS, SAMPLES)
    return *mine, x[held:], y[held:]


def begin(folder: Path, hidden: int, seed: int) -> Weights:
    """Write the first global model, which every client starts from."""
    torch.manual_seed(seed)
    widths = [PIXELS, *[WIDTH] * hidden, DIGITS]
    pairs = ((nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in pairwise(widths))
    model = nn.Sequential(*[layer for pair in pairs for layer in pair][:-1])
    torch.save(model, folder / "global.pt")
    return shared(model)


def shared(model: nn.Module) -> Weights:
    """Give the model's weights to every client."""
    return {n: v.repeat(CLIENTS, *[1] * v.dim()) for n, v in model.state_dict().items()}


def forward(weights: Weights, x: Tensor) -> Tensor:
    """Return each client's model's scores of its images."""
    layers = list(weights.values())
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        scores = torch.baddbmm(bias[:, None], x, weight.mT)
        x = scores.relu()
    return scores


def train(weights: Weights, x: Tensor, y: Tensor, learning_rate: float) -> Weights:
    """Let every client do a local round."""
    values = [value.clone().requires_grad_() for value in weights.values()]
    for _ in range(STEPS):
        scores = forward(dict(zip(weights, values, strict=True)), x)
        # The sum of the clients' losses: nobody's weights bear on another's.
        loss = cross_entropy(scores.flatten(0, 1), y.flatten(), reduction="sum") / SAMPLES
        gradients = torch.autograd.grad(loss, values)
        with torch.no_grad():
            for value, gradient in zip(values, gradients, strict=True):
                value.sub_(learning_rate * gradient)
    return {name: value.detach() for name, value in zip(weights, values, strict=True)}


def accuracy(weights: Weights, x: Tensor, y: Tensor) -> float:
    """Test the first client's model, which is everybody's after a merge."""
    [scores] = forward({name: value[:1] for name, value in weights.items()}, x[None])
    return (scores.argmax(dim=1) == y).float().mean().item()


def permuted(weights: Weights, dice: random.Random) -> Weights:
    """Permute the clients' models, every order as likely as any other."""
    order = list(range(CLIENTS))
    dice.shuffle(order)
    return {name: value[order] for name, value in weights.items()}


def merged(folder: Path, weights: Weights) -> Weights:
    """Merge the clients' files as the server does, and share the result."""
    from fl_archive.safetensors_file import encode_header
    from fl_server_ai.aggregation.engine import Update, merge
    from fl_server_ai.aggregation.strategies.fed_avg import FedAvg

    layout = {name: ("F32", tuple(value.shape[1:])) for name, value in weights.items()}
    updates = []
    for client in range(CLIENTS):
        numbers = [value[client].numpy().tobytes() for value in weights.values()]
        content = b"".join([encode_header(layout), *numbers])
        path = folder / f"{client}.safetensors"
        path.write_bytes(content)
        updates.append(Update(path, hashlib.sha256(content).hexdigest(), SAMPLES))
    target = folder / "merged.pt"
    merge(
        strategy=FedAvg(),
        template=folder / "global.pt",
        updates=updates,
        target=target,
        progress=lambda: None,
    )
    target.replace(folder / "global.pt")
    return shared(torch.load(folder / "global.pt", weights_only=False))


def plot(compared: Sequence[Method], found: np.ndarray, every: int, path: Path) -> None:
    """Draw each method's mean over the seeds, and the range in which all of them are."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    rounds = every * np.arange(1, found.shape[2] + 1)
    for method, curves, color in zip(
        compared, found, ("#7f8a94", "#c77d1b", "#0b6fb8"), strict=True
    ):
        axes.plot(rounds, curves.mean(axis=0), color=color, label=method.label)
        axes.fill_between(rounds, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.15)
    axes.set_title(f"{CLIENTS} clients with {SAMPLES} digits each", loc="left")
    axes.set_xlabel("local rounds")
    axes.set_ylabel("accuracy on digits that nobody holds")
    axes.legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
