"""Federated averaging of a CNN on MNIST, as in McMahan et al. 2017, through a server over HTTP.

    python benchmarks/mnist.py --data-dir mnist --state-dir run --split iid
    python benchmarks/mnist.py --data-dir mnist --state-dir run --split shards

Their table 2 (https://arxiv.org/abs/1602.05629): 100 clients, a tenth of them trains in a round,
five epochs with batches of ten. Prints the global model's accuracy on the test images after each
round, and how many rounds it took to 99 %. Killed at any time and started again, it goes on where
it was: the server has the training in its folder, and a JSON file beside that has the users'
tokens and the accuracies. docs/performance.md says what came out.
"""

import argparse
import json
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import accumulate, pairwise, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from idx import read_mnist
from safetensors.torch import load, save
from serving import running_server
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples" / "digits"))
from server import Server

ENDLESS = 10_000
"""Rounds that the training is opened for; how many are gone through is decided here."""
PARTS = 10
"""In which the test images are tested."""
PAPER = {"iid": (20, 20), "shards": (206, 229)}
"""Rounds to 99 %, from tables 1 and 2; one number where only that is given."""


@dataclass(frozen=True)
class Plan:
    """What is learned, how, and from what."""

    data_dir: Path
    split: str
    clients: int
    sample: float
    epochs: int
    batch: int
    learning_rate: float
    seed: int


@dataclass
class State:
    """What must outlive a kill: the users, their training, and how good its models were.

    `clients` are tokens by id, `accuracies` those of the models that the rounds have made.
    """

    actor: str
    clients: dict[str, str]
    model: str
    training: str
    learned: dict[str, Any]
    accuracies: list[float] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(path)


def main() -> None:
    """Go through the rounds; plot what there is by then."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="MNIST, as gzipped IDX")
    parser.add_argument("--state-dir", type=Path, required=True, help="what it goes on from")
    parser.add_argument("--split", choices=PAPER, default="iid", help="shards: two for a client")
    parser.add_argument("--url", help="of a server that runs; default: one of its own")
    parser.add_argument("--rounds", type=int, default=300, help="at most; default: %(default)s")
    parser.add_argument("--until", type=float, default=0.99, help="accuracy; default: %(default)s")
    parser.add_argument("--clients", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--sample", type=float, default=0.1, help="C; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=5, help="E; default: %(default)s")
    parser.add_argument("--batch", type=int, default=10, help="B; default: %(default)s")
    parser.add_argument("--learning-rate", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--plot", type=Path, help="a picture of all curves in the state folder")
    args = parser.parse_args()
    plan = Plan(**{name: getattr(args, name) for name in Plan.__dataclass_fields__})
    path = args.state_dir / f"{args.split}.json"
    with ExitStack() as stack:
        url = args.url or stack.enter_context(running_server(args.state_dir / args.split)).url
        state = resume(path, plan, url)
        spawning = get_context("spawn")
        pool = ProcessPoolExecutor(args.processes, spawning, torch.set_num_threads, (1,))
        run = Run(Cohort(url, plan, tuple(state.clients.items())), state, path, pool)
        with pool:
            run.follow(args.rounds, args.until)
    print(f"{args.until:.0%} after {rounds_to(args.until, state.accuracies)} rounds")
    if args.plot:
        plot(args.state_dir, args.until, args.plot)


def user(url: str, token: str) -> Server:
    """Return a user's line to the server."""
    server = Server(url)
    server.session.headers["Authorization"] = f"Token {token}"
    return server


# The beginning: users, the model, the training.


def resume(path: Path, plan: Plan, url: str) -> State:
    """Read the state, or make one; it is for one plan alone."""
    learned = asdict(plan) | {"data_dir": ""}
    if not path.exists():
        begin(plan, learned, Server(url)).write(path)
    state = State(**json.loads(path.read_text()))
    if state.learned != learned:
        sys.exit(f"{path} was begun with other options: {state.learned}")
    return state


def begin(plan: Plan, learned: dict[str, Any], server: Server) -> State:
    """Register everybody and open the training, which starts later."""
    actor, *clients = (register(server) for _ in range(1 + plan.clients))
    as_actor = user(server.url, actor["token"])
    torch.manual_seed(plan.seed)
    form = {"name": "MNIST CNN", "description": f"split: {plan.split}"}
    files = {"model_file": save(cnn().state_dict())}
    model = as_actor.ask("POST", "/models/", data=form, files=files).json()["model_id"]
    training = {
        "model_id": model,
        "clients": [client["id"] for client in clients],
        "target_num_updates": ENDLESS,
        "metric_names": ["accuracy"],
        "aggregation_method": "FedAvg",
        "options": {"round": {"sample": plan.sample}} if plan.sample < 1 else {},
    }
    opened = as_actor.ask("POST", "/trainings/", json=training).json()["training_id"]
    tokens = {client["id"]: client["token"] for client in clients}
    return State(actor["token"], tokens, model, opened, learned)


def register(server: Server) -> dict[str, Any]:
    """Make a user without an endpoint, who asks for what is to be done."""
    form = {"username": f"mnist-{secrets.token_hex(8)}", "password": secrets.token_urlsafe()}
    return server.ask("POST", "/users/", json=form).json()


# The rounds, as the actor follows them.


@dataclass(frozen=True)
class Cohort:
    """All the clients: where they are known, what they learn, and their ids with their tokens."""

    url: str
    plan: Plan
    clients: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Step:
    """What a training is at: its phase, and the round's number."""

    phase: str
    round: int


@dataclass
class Run:
    """A training under way, and the processes that its clients share."""

    cohort: Cohort
    state: State
    path: Path
    pool: ProcessPoolExecutor

    def follow(self, rounds: int, until: float) -> None:
        """Have the clients answer until so many rounds are over, or a model is as good as this."""
        actor, begun = user(self.cohort.url, self.state.actor), time.monotonic()
        while len(self.state.accuracies) < rounds and max(self.state.accuracies, default=0) < until:
            training = actor.ask("GET", f"/trainings/{self.state.training}/").json()
            step = Step(training["round"]["phase"], training["round"]["number"])
            if training["state"] == "I":
                actor.ask("POST", f"/trainings/{self.state.training}/start/")
            elif training["state"] != "O":
                sys.exit(f"The training ended: {training['state_reason']}")
            elif step.phase == "test" and step.round > len(self.state.accuracies):
                # Before anybody answers, as then the next round begins.
                self.test(actor.ask("GET", f"/models/{self.state.model}/").content)
                seconds, begun = time.monotonic() - begun, time.monotonic()
                print(f"{step.round}: {self.state.accuracies[-1]:.4f}, {seconds:.0f} s", flush=True)
            elif awaited := training["round"]["awaited"]:
                list(self.pool.map(answer, repeat(self.cohort), awaited, repeat(step)))
            else:
                time.sleep(0.1)

    def test(self, weights: bytes) -> None:
        """Add the accuracy on the test images."""
        parts = zip(repeat(self.cohort.plan.data_dir), repeat(weights), range(PARTS))
        correct = np.array(list(self.pool.map(count_correct, *zip(*parts, strict=True))))
        self.state.accuracies.append(correct[:, 0].sum() / correct[:, 1].sum())
        self.state.write(self.path)


# What the clients do, in processes of their own.


def answer(cohort: Cohort, client: str, step: Step) -> None:
    """Do what a client is asked for in this step, and acknowledge whatever it is told."""
    server = line(cohort, client)
    for item in server.ask("GET", "/notifications/", params={"wait": 10}).json():
        kind, body = item["notification_type"], item["body"]
        model = f"/models/{body['global_model_uuid']}/"
        if body.get("round") == step.round:
            if kind == "UPDATE_ROUND_START":
                update(cohort, client, step.round, model)
            elif kind == "MODEL_TEST_ROUND":
                report(cohort, client, model)
        server.ask("POST", f"/notifications/{item['id']}/ack/")


def update(cohort: Cohort, client: str, round_number: int, model: str) -> None:
    """Train the model on the client's images and send it back."""
    number = [one for one, _ in cohort.clients].index(client)
    torch.manual_seed(hash((cohort.plan.seed, round_number, number)))
    images, digits = images_of(cohort, client)
    trained = train(downloaded(cohort, client, model), images, digits, cohort.plan)
    form = {"round": round_number, "sample_size": len(digits)}
    files = {"model_file": save(trained.state_dict())}
    line(cohort, client).ask("POST", model, data=form, files=files)


def report(cohort: Cohort, client: str, model: str) -> None:
    """Tell how good the model is on the client's own images."""
    images, digits = images_of(cohort, client)
    share = correct_in(downloaded(cohort, client, model), images, digits) / len(digits)
    form = {"metric_names": ["accuracy"], "metric_values": [share]}
    line(cohort, client).ask("POST", f"{model}metrics/", data=form)


@cache
def line(cohort: Cohort, client: str) -> Server:
    """Return a client's line to the server, which stays open."""
    return user(cohort.url, dict(cohort.clients)[client])


def downloaded(cohort: Cohort, client: str, model: str) -> nn.Module:
    """Return the model as the server has it."""
    return with_weights(line(cohort, client).ask("GET", model).content)


@cache
def split_images(plan: Plan) -> list[Tensor]:
    """Return for each client which of the training images are its own."""
    _, digits = read_mnist(plan.data_dir, "train")
    dice = np.random.default_rng(plan.seed)
    if plan.split == "iid":
        parts = np.array_split(dice.permutation(len(digits)), plan.clients)
    else:
        shards = np.array_split(np.argsort(digits.numpy(), kind="stable"), 2 * plan.clients)
        pairs = dice.permutation(len(shards)).reshape(plan.clients, 2)
        parts = [np.concatenate([shards[one], shards[other]]) for one, other in pairs]
    return [torch.from_numpy(part) for part in parts]


def images_of(cohort: Cohort, client: str) -> tuple[Tensor, Tensor]:
    """Return a client's images and their digits."""
    number = [one for one, _ in cohort.clients].index(client)
    part = split_images(cohort.plan)[number]
    images, digits = read_mnist(cohort.plan.data_dir, "train")
    return images[part], digits[part]


# Learning.


def cnn() -> nn.Module:
    """Return the paper's network of 1,663,370 parameters, with fresh weights."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(32, 64, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def with_weights(weights: bytes) -> nn.Module:
    """Return the network with the weights of a safetensors file."""
    model = cnn()
    model.load_state_dict(load(weights))
    return model


def train(model: nn.Module, images: Tensor, digits: Tensor, plan: Plan) -> nn.Module:
    """Go through the images in a new order in each epoch, a step for each batch."""
    optimizer = torch.optim.SGD(model.parameters(), plan.learning_rate)
    for _ in range(plan.epochs):
        for batch in torch.randperm(len(digits)).split(plan.batch):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), digits[batch]).backward()
            optimizer.step()
    return model


@torch.no_grad()
def correct_in(model: nn.Module, images: Tensor, digits: Tensor) -> int:
    """Count the images whose digit the model finds."""
    return int((model(images).argmax(dim=1) == digits).sum())


def count_correct(data: Path, weights: bytes, part: int) -> tuple[int, int]:
    """Count in this part of the test images: those that are found, and all."""
    images, digits = (whole.tensor_split(PARTS)[part] for whole in read_mnist(data, "t10k"))
    return correct_in(with_weights(weights), images, digits), len(digits)


# What came out.


def rounds_to(target: float, accuracies: list[float]) -> float | None:
    """Return after how many rounds the best model so far reached an accuracy.

    Between two rounds on the straight line, as in the paper. None if it hasn't.
    """
    best = [0.0, *accumulate(accuracies, max)]
    for number, (before, after) in enumerate(pairwise(best)):
        if after >= target:
            return round(number + (target - before) / (after - before), 1)
    return None


def plot(folder: Path, target: float, picture: Path) -> None:
    """Draw the best accuracy so far over the rounds, and what the paper says."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for (split, (first, last)), color in zip(PAPER.items(), ("#0b6fb8", "#c77d1b"), strict=True):
        path = folder / f"{split}.json"
        if path.exists():
            accuracies = json.loads(path.read_text())["accuracies"]
            rounds = range(1, len(accuracies) + 1)
            axes.plot(rounds, list(accumulate(accuracies, max)), color=color, label=split)
            axes.plot(rounds, accuracies, ".", color=color, alpha=0.3)
            axes.plot([first, last], [target] * 2, "|-", color=color, label=f"{split}, paper")
    axes.set_ylim(0.9, 1)
    axes.set_xscale("log")
    axes.set_xlabel("rounds")
    axes.set_title("accuracy on the test images", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
