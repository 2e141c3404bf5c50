"""The clients of `mnist.py`, many in a process: how they answer the server, and how they learn."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from idx import read_mnist
from safetensors.torch import load, save
from serving import die_with_parent
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fl_client import Transport

PARTS = 10
"""In which the test images are tested."""


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


@dataclass(frozen=True)
class Cohort:
    """All the clients: where they are known, what they learn, and their ids with their tokens."""

    url: str
    plan: Plan
    clients: tuple[tuple[str, str], ...]

    def number(self, client: str) -> int:
        """Return a client's place in the split."""
        return [one for one, _ in self.clients].index(client)


def begin_process() -> None:
    """Take one thread, and end with the process that shares out the work, however that ends."""
    torch.set_num_threads(1)
    die_with_parent()


def user(url: str, token: str) -> Transport:
    """Return a user's line to the server."""
    server = Transport(url)
    server.be(token)
    return server


# Answering.


def answer(cohort: Cohort, client: str, round_number: int) -> None:
    """Do what a client is asked for in this round, and acknowledge what it is told.

    What is of a later round waits, because the actor looks at each model before it is answered.
    """
    server = line(cohort, client)
    for item in server.ask("GET", "/api/notifications/", params={"wait": 10}).json():
        kind, body = item["notification_type"], item["body"]
        asked, model = body.get("round", 0), f"/api/models/{body['global_model_uuid']}/"
        if asked > round_number:
            return
        if asked == round_number and kind == "UPDATE_ROUND_START":
            update(cohort, client, round_number, model)
        elif asked == round_number and kind == "MODEL_TEST_ROUND":
            report(cohort, client, model)
        server.ask("POST", f"/api/notifications/{item['id']}/ack/")


def update(cohort: Cohort, client: str, round_number: int, model: str) -> None:
    """Train the model on the client's images and send it back."""
    torch.manual_seed(hash((cohort.plan.seed, round_number, cohort.number(client))))
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
def line(cohort: Cohort, client: str) -> Transport:
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
    part = split_images(cohort.plan)[cohort.number(client)]
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
