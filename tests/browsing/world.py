"""Something to see: five hospitals have trained a model of handwritten digits together."""

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from PIL import Image
from safetensors.torch import save
from torch import nn
from torch.nn.functional import cross_entropy

from tests.e2e.people import Person
from tests.waiting import wait_until

HOSPITALS = ["charite", "dresden", "erlangen", "freiburg", "goettingen"]
ROUNDS = 4
PLAN = {
    "uncertainty_method": "MC_DROPOUT",
    "metric_names": ["accuracy", "loss"],
    "options": {
        "round": {"sample": 4, "over_selection": 1.25},  # one is too late each time
        "uncertainty": {"N": 30, "softmax": True},
    },
}
ABOUT = """Tells which digit is drawn on 8 x 8 pixels.

A network with one hidden layer; its dropout tells how unsure it is."""


@dataclass(frozen=True)
class World:
    """What the pages' paths and acts name."""

    url: str
    user: str
    model: str
    training: str
    digit: bytes
    """A PNG."""
    nowhere: str = str(uuid4())


def make_world(url: str, folder: Path, *, rounds: int = ROUNDS) -> World:
    """Play a training on a server whose data are in this folder; its actor becomes an operator."""
    from sklearn.datasets import load_digits  # takes long, also where no such test runs

    torch.manual_seed(1)
    images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    images = (images / 16).float().reshape(-1, 1, 8, 8)
    actor = Person(url, name="stephan").be_patient()
    people = [Person(url, name=name).be_patient() for name in HOSPITALS]
    model = actor.upload_model(
        _saved(_network()),
        name="Digits",
        description=ABOUT,
        input_shape=["None", "1", "8", "8"],
    )
    training = actor.open_training(model, people, rounds, **PLAN)
    actor.start(training)
    slices = zip(images.chunk(5), labels.chunk(5), strict=True)
    with _one_thread():  # the model is too small for more
        _take_part(actor, training, model, dict(zip(HOSPITALS, slices, strict=True)), people)
    _open_others(actor, people)
    _promote(folder, actor.name)
    return World(url, actor.name, model, training, _png(images[13]))


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.25), nn.Linear(48, 10)
    )


def _take_part(
    actor: Person, training: str, model: str, slices: dict[str, Any], people: list[Person]
) -> None:
    """Have all answer what they are asked, but for the last one, who trains too long."""

    def answered() -> bool:
        for person in people:
            for call in person.fetch(wait=0):
                _answer(person, model, call, *slices[person.name], slow=person is people[-1])
        return actor.ask("GET", f"/trainings/{training}/")["state"] == "C"

    wait_until(answered)


def _answer(person: Person, model: str, call: Any, images: Any, labels: Any, *, slow: bool) -> None:
    kind = call["notification_type"]
    if kind not in ("UPDATE_ROUND_START", "MODEL_TEST_ROUND") or (slow and "UPDATE" in kind):
        return
    network = torch.load(io.BytesIO(person.ask("GET", f"/models/{model}/")), weights_only=False)
    if kind == "UPDATE_ROUND_START":
        _train(network, images, labels)
        state = save(network.state_dict())
        person.update(model, call["body"]["round"], state, sample_size=len(labels))
        return
    network.eval()
    with torch.no_grad():
        output = network(images)
    accuracy = (output.argmax(1) == labels).float().mean().item()
    values = [accuracy, cross_entropy(output, labels).item()]
    form = {"metric_names": PLAN["metric_names"], "metric_values": values}
    person.ask("POST", f"/models/{model}/metrics/", data=form)


def _train(network: nn.Module, images: Any, labels: Any) -> None:
    network.train()
    parameters = list(network.parameters())
    for _ in range(60):  # torch.optim takes seconds to import
        gradients = torch.autograd.grad(cross_entropy(network(images), labels), parameters)
        with torch.no_grad():
            torch._foreach_sub_(parameters, gradients, alpha=0.3)


def _open_others(actor: Person, people: list[Person]) -> None:
    """Open one that waits for its participants, and one that hasn't begun; stop a third."""
    for name, orders in {
        "Chest X-rays": ["start"],
        "ECG": [],
        "Skin lesions": ["start", "stop"],
    }.items():
        model = actor.upload_model(_saved(nn.Linear(3, 1)), name=name, description="")
        training = actor.open_training(model, people, 10)
        for order in orders:
            actor.ask("POST", f"/trainings/{training}/{order}/")


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _promote(folder: Path, name: str) -> None:
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database, database:
        database.execute(
            "UPDATE fl_server_core_user SET is_staff = 1, is_superuser = 1, actor = 1 "
            "WHERE username = ?",
            [name],
        )


def _saved(module: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.save(module, file)
    return file.getvalue()


def _png(image: torch.Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray((image[0] * 255).byte().numpy()).save(file, "PNG")
    return file.getvalue()
