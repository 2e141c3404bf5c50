"""SWAG's predictions against those of the model that it samples, on digits and on noise.

    python benchmarks/swag.py --data-dir mnist

Five clients with 1000 of MNIST's digits each train a small network as the example client does,
and hand in the moments of their weights; the server makes moments of the merged models, too.
Updates and moments are admitted and merged by the server's own code, predictions made by its
`METHODS`. The folder holds MNIST's four files as they are published, gzipped IDX.
docs/uncertainty.md says what came out.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from idx import Samples, read_mnist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import nll_loss

if TYPE_CHECKING:  # settings come first
    from fl_server_ai.aggregation.engine import Update

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "digits"
CLIENTS, SAMPLES, ROUNDS = 5, 1000, 5
EPOCHS = 5
"""In a round, that of the moments too; the example client's default, as is the rate of 0.1."""
SEEDS = range(5)
RATE, RATES = 0.1, (0.01, 0.03, 0.1, 0.15, 0.2)
"""Training's learning rate, and those at which moments are collected."""
PASSES, ALL_PASSES = 10, (1, 2, 3, 5, 10, 30)
"""`options.uncertainty.N`: the server's default, and what is tried."""
VERSIONS = (2, 3, ROUNDS)
"""Of how many merged models the server makes moments; it takes the newer half, which is 3."""
NOISE = 2000
"""Images of noise, each pixel uniform in [0, 1]."""
SPLITS = {False: "digits split evenly", True: "digits split with a skew"}


@dataclass(frozen=True)
class Figures:
    """Of predictions: mean negative log-likelihood and accuracy on held-out digits.

    And the mean predictive entropies, all logarithms natural.
    """

    nll: float
    accuracy: float
    on_digits: float
    on_noise: float


Found = dict[str, Figures]
"""What one seed gives, by how it was predicted."""


def main() -> None:
    """Simulate with both splits of the digits, print figures and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="MNIST, as gzipped IDX")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/swag.png"))
    args = parser.parse_args()
    sys.path.append(str(EXAMPLE))  # where this runs, and in the processes it starts
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "fl_server.settings", "FL_DATA_DIR": folder}
        os.environ["FL_DEVICE"] = "cpu"
        os.environ["PYTHONWARNINGS"] = "ignore::DeprecationWarning:torch.jit"
        found = simulate_all(args.data_dir)
    for skewed, label in SPLITS.items():
        print(f"\n{label}")
        report(found[skewed])
    plot(found[True], args.plot)


def simulate_all(data: Path) -> dict[bool, list[Found]]:
    """Return what all seeds give, by whether digits are split with a skew."""
    jobs = [(data, skewed, seed) for skewed in SPLITS for seed in SEEDS]
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        results = list(pool.map(simulate, *zip(*jobs, strict=True)))
    return {False: results[: len(SEEDS)], True: results[len(SEEDS) :]}


def simulate(data: Path, skewed: bool, seed: int) -> Found:
    """Train, collect moments at every rate, and measure."""
    torch.manual_seed(seed)
    clients = split_images(*read_mnist(data, "train"), skewed=skewed, seed=seed)
    images, digits = read_mnist(data, "t10k")
    noise = torch.rand(NOISE, *images.shape[1:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def measure(predictor: Callable[..., Tensor], *how: float) -> Figures:
            return figures(*(predictor(folder, x, *how) for x in (images, noise)), digits)

        train(folder, clients)
        found = {"merged model": measure(predict)}
        for rate in sorted(RATES, key=RATE.__ne__):
            collect(folder, clients, rate)
            found[at(rate)] = measure(sample, PASSES)
            if rate == RATE:
                found["mean of moments"] = measure(predict_mean)
                found |= {f"SWAG, N = {n}": measure(sample, n) for n in ALL_PASSES}
        for last in VERSIONS:
            remember(folder, last)
            found[f"server's, last {last}"] = measure(sample, PASSES)
        return found


def at(rate: float) -> str:
    """Name the predictions of moments that were collected at this rate."""
    return f"SWAG, rate {rate:g}"


def split_images(images: Tensor, digits: Tensor, *, skewed: bool, seed: int) -> list[Samples]:
    """Return the clients' samples, with a skew as the example's data have it."""
    from data import split

    held = np.random.default_rng(seed).permutation(len(digits))[: CLIENTS * SAMPLES]
    if skewed:
        parts = split(digits[held].numpy(), CLIENTS, seed)
    else:
        parts = np.array_split(np.arange(len(held)), CLIENTS)
    return [(images[held[part]], digits[held[part]]) for part in parts]


def train(folder: Path, clients: Sequence[Samples]) -> None:
    """Leave the model after all rounds in `global.pt`."""
    from client import train as train_client

    from fl_archive.update import admit_update
    from fl_server_ai.aggregation.engine import merge
    from fl_server_ai.aggregation.strategies.fed_avg import FedAvg

    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 10))
    torch.jit.save(torch.jit.script(model), folder / "global.pt")
    for number in range(1, ROUNDS + 1):
        updates = []
        for client, (x, y) in enumerate(clients):
            model = load(folder)
            train_client(model, x, y, EPOCHS)
            updates.append(admitted(folder, f"{client}", model.state_dict(), len(y), admit_update))
        merge(
            strategy=FedAvg(),
            template=folder / "global.pt",
            updates=updates,
            target=folder / "merged.pt",
            progress=lambda: None,
        )
        shutil.copy(folder / "merged.pt", version(folder, number))
        (folder / "merged.pt").replace(folder / "global.pt")


def version(folder: Path, number: int) -> Path:
    """Return where the model is kept that this round's merge made."""
    return folder / f"version-{number}.pt"


def remember(folder: Path, last: int) -> None:
    """Leave the moments of so many of the last merged models in `first` and `second`."""
    from fl_server_ai.aggregation.trajectory import make_moments

    make_moments(
        versions=[version(folder, number) for number in range(ROUNDS, ROUNDS - last, -1)],
        first=folder / "first",
        second=folder / "second",
        progress=lambda: None,
    )


def collect(folder: Path, clients: Sequence[Samples], rate: float) -> None:
    """Hold a SWAG round: leave the merged moments in `first` and `second`."""
    from client import collect_moments

    from fl_archive.update import admit_moments
    from fl_server_ai.aggregation.engine import merge_tensors

    moments: dict[str, list[Update]] = {"first": [], "second": []}
    for number, (x, y) in enumerate(clients):
        found = collect_moments(load(folder), x, y, EPOCHS, rate)
        for (kind, answers), means in zip(
            moments.items(), (found.first, found.second), strict=True
        ):
            moment = {name: torch.from_numpy(mean) for name, mean in means.items()}
            answers.append(admitted(folder, f"{kind}-{number}", moment, len(y), admit_moments))
    for kind, answers in moments.items():
        merge_tensors(updates=answers, target=folder / kind, progress=lambda: None)


def admitted(
    folder: Path, name: str, sent: Any, samples: int, admit: Callable[..., None]
) -> "Update":
    """Take what a client sends as the server does."""
    from fl_archive.model import read_model
    from fl_server_ai.aggregation.engine import Update

    torch.save(sent, folder / "sent")
    with read_model(folder / "global.pt") as reference:
        admit(folder / "sent", reference, folder / name)
    return Update(folder / name, hashlib.sha256((folder / name).read_bytes()).hexdigest(), samples)


def load(folder: Path) -> nn.Module:
    """Return the global model."""
    return torch.jit.load(folder / "global.pt").eval()


@torch.no_grad()
def predict(folder: Path, images: Tensor) -> Tensor:
    """Return the global model's probabilities."""
    return load(folder)(images).softmax(dim=1)


@torch.no_grad()
def predict_mean(folder: Path, images: Tensor) -> Tensor:
    """Return those with the mean weights that SWAG samples around."""
    model = load(folder)
    model.load_state_dict(load_file(folder / "first"))
    return model(images).softmax(dim=1)


@torch.no_grad()
def sample(folder: Path, images: Tensor, passes: int) -> Tensor:
    """Return SWAG's probabilities, as the server finds them."""
    from fl_archive.safetensors_file import TensorFile
    from fl_server_ai.inference.jobs.loading import Member
    from fl_server_ai.tensors import Tensors
    from fl_server_ai.uncertainty.swag import swag
    from fl_server_ai.uncertainty.walk import Run

    with TensorFile(folder / "first") as first, TensorFile(folder / "second") as second:
        moments = [Tensors(first), Tensors(second)]
        return swag(Run([Member(load(folder))], moments, images, passes, softmax=True)).inference


def figures(on_digits: Tensor, on_noise: Tensor, digits: Tensor) -> Figures:
    """Return the figures of probabilities of digits and of noise."""
    from fl_server_ai.uncertainty.walk import entropy

    return Figures(
        nll=nll_loss(on_digits.log(), digits).item(),
        accuracy=(on_digits.argmax(dim=1) == digits).float().mean().item(),
        on_digits=entropy(on_digits).mean().item(),
        on_noise=entropy(on_noise).mean().item(),
    )


def report(found: Sequence[Found]) -> None:
    """Print a line for each way to predict: means, and losses and entropies seed by seed."""
    print(f"{'':16}  nll: seed by seed                   accuracy  entropy on digits, on noise")
    for label in found[0]:
        rows = [one[label] for one in found]
        loss, accuracy = np.mean([(row.nll, row.accuracy) for row in rows], axis=0)
        losses = " ".join(f"{row.nll:.3f}" for row in rows)
        entropies = "  ".join(f"{row.on_digits:.2f}, {row.on_noise:.2f}" for row in rows)
        print(f"{label:16}  {loss:.3f}: {losses}  {accuracy:.3f}     {entropies}")


def plot(found: Sequence[Found], path: Path) -> None:
    """Draw loss and entropies over the rate."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("negative log-likelihood of held-out digits", loc="left")
    draw(left, found, "nll", "", "#0b6fb8")
    right.set_title("predictive entropy, in nats", loc="left")
    draw(right, found, "on_noise", " on noise", "#c77d1b")
    draw(right, found, "on_digits", " on digits", "#0b6fb8")
    for axes, place in ((left, "upper left"), (right, (0.02, 0.15))):
        axes.legend(loc=place, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("learning rate at which moments are collected")
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axes.set_ylim(bottom=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw(axes: Axes, found: Sequence[Found], name: str, what: str, color: str) -> None:
    """Draw a figure's mean over the seeds, and for SWAG the range in which all of them are."""
    swag, point = (
        np.array([[getattr(one[label], name) for label in labels] for one in found])
        for labels in ([at(rate) for rate in RATES], ["merged model"] * len(RATES))
    )
    axes.plot(RATES, swag.mean(axis=0), "o-", color=color, label=f"SWAG{what}")
    axes.fill_between(RATES, swag.min(axis=0), swag.max(axis=0), color=color, alpha=0.15)
    axes.plot(RATES, point.mean(axis=0), "--", color=color, label=f"the merged model{what}")


if __name__ == "__main__":
    main()
