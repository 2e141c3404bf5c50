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
from itertools import accumulate, pairwise, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from mnist_clients import (
    PARTS,
    Cohort,
    Plan,
    answer,
    begin_process,
    cnn,
    count_correct,
    user,
)
from safetensors.torch import save
from serving import running_server

from fl_client import Transport

ENDLESS = 10_000
"""Rounds that the training is opened for; how many are gone through is decided here."""
PAPER = {"iid": (20, 20), "shards": (206, 229)}
"""Rounds to 99 %, from tables 1 and 2; one number where only that is given."""


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
        pool = ProcessPoolExecutor(args.processes, get_context("spawn"), begin_process)
        run = Run(Cohort(url, plan, tuple(state.clients.items())), state, path, pool)
        with pool:
            run.follow(args.rounds, args.until)
    print(f"{args.until:.0%} after {rounds_to(args.until, state.accuracies)} rounds")
    if args.plot:
        plot(args.state_dir, args.until, args.plot)


# The beginning: users, the model, the training.


def resume(path: Path, plan: Plan, url: str) -> State:
    """Read the state, or make one; it is for one plan alone."""
    learned = asdict(plan) | {"data_dir": ""}
    if not path.exists():
        begin(plan, learned, Transport(url)).write(path)
    state = State(**json.loads(path.read_text()))
    if state.learned != learned:
        sys.exit(f"{path} was begun with other options: {state.learned}")
    return state


def begin(plan: Plan, learned: dict[str, Any], server: Transport) -> State:
    """Register everybody and open the training, which starts later."""
    actor, *clients = (register(server) for _ in range(1 + plan.clients))
    as_actor = user(server.url, actor["token"])
    torch.manual_seed(plan.seed)
    form = {"name": "MNIST CNN", "description": f"split: {plan.split}"}
    files = {"model_file": save(cnn().state_dict())}
    model = as_actor.ask("POST", "/api/models/", data=form, files=files).json()["model_id"]
    training = {
        "model_id": model,
        "clients": [client["id"] for client in clients],
        "target_num_updates": ENDLESS,
        "metric_names": ["accuracy"],
        "aggregation_method": "FedAvg",
        "options": {"round": {"sample": plan.sample}} if plan.sample < 1 else {},
    }
    opened = as_actor.ask("POST", "/api/trainings/", json=training).json()["training_id"]
    tokens = {client["id"]: client["token"] for client in clients}
    return State(actor["token"], tokens, model, opened, learned)


def register(server: Transport) -> dict[str, Any]:
    """Make a user without an endpoint, who asks for what is to be done."""
    form = {"username": f"mnist-{secrets.token_hex(8)}", "password": secrets.token_urlsafe()}
    return server.ask("POST", "/api/users/", json=form).json()


# The rounds, as the actor follows them.


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
            training = actor.ask("GET", f"/api/trainings/{self.state.training}/").json()
            phase, number = training["round"]["phase"], training["round"]["number"]
            if training["state"] == "I":
                actor.ask("POST", f"/api/trainings/{self.state.training}/start/")
            elif training["state"] != "O":
                sys.exit(f"The training ended: {training['state_reason']}")
            elif phase == "test" and number > len(self.state.accuracies):
                # Before anybody answers, as then the next round begins.
                self.test(actor.ask("GET", f"/api/models/{self.state.model}/").content)
                seconds, begun = time.monotonic() - begun, time.monotonic()
                print(f"{number}: {self.state.accuracies[-1]:.4f}, {seconds:.0f} s", flush=True)
            elif awaited := training["round"]["awaited"]:
                list(self.pool.map(answer, repeat(self.cohort), awaited, repeat(number)))
            else:
                time.sleep(0.1)

    def test(self, weights: bytes) -> None:
        """Add the accuracy on the test images."""
        data = self.cohort.plan.data_dir
        counts = self.pool.map(count_correct, repeat(data), repeat(weights), range(PARTS))
        correct, images = map(sum, zip(*counts, strict=True))
        self.state.accuracies.append(correct / images)
        self.state.write(self.path)


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
