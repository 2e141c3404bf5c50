"""What a client does with its data: put your own data, training and metrics in here."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector


def load(path: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images and digits to train on, and the fifth that is held out for testing."""
    with np.load(path) as file:  # in random order
        test_x, x = torch.from_numpy(file["x"]).tensor_split([len(file["x"]) // 5])
        test_y, y = torch.from_numpy(file["y"]).tensor_split([len(file["y"]) // 5])
    return x, y, test_x, test_y


def train(
    model: nn.Module, x: Tensor, y: Tensor, epochs: int, mu: float = 0.0, rate: float = 0.1
) -> None:
    """Train in place; mu > 0 makes it FedProx by one more term: mu/2 * |w - w received|^2."""
    received = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(32):
            pairs = zip(model.parameters(), received, strict=True)
            drift = torch.stack([(now - before).square().sum() for now, before in pairs]).sum()
            loss = cross_entropy(model(x[batch]), y[batch]) + mu / 2 * drift
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def collect_moments(
    model: nn.Module, x: Tensor, y: Tensor, epochs: int, rate: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Train on at the same rate; return the means of the weights and of their squares.

    Both are flat, over the weights after each epoch. A rate at which the weights leave the
    valley that they were in spoils the mean. SWAG-Diagonal: Maddox et al. 2019, "A Simple
    Baseline for Bayesian Uncertainty in Deep Learning", arXiv 1902.02476, section 3.2.
    """
    first = second = torch.zeros_like(parameters_to_vector(model.parameters()))
    for count in range(1, epochs + 1):
        train(model, x, y, epochs=1, rate=rate)
        weights = parameters_to_vector(model.parameters()).detach()
        first = first + (weights - first) / count
        second = second + (weights.square() - second) / count
    return first, second


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return accuracy and mean loss."""
    scores = model.eval()(x)
    hits = (scores.argmax(dim=1) == y).float()
    return {"accuracy": hits.mean().item(), "loss": cross_entropy(scores, y).item()}
