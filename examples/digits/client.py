"""A client that learns to read digits: what it has learned goes out, its images stay.

    python client.py slices/client-1.npz --name alice

It asks for work, in one training after another; with --port it is posted to. Killed and started
again it is the same user, and goes on with what it had not done. FL_URL says where the server is,
if it isn't on this machine.
"""

import argparse

import numpy as np
import torch
from model import digits_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fl_client import Client, Moments, ProximalTerm


def load(path: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images and digits to train on, and the fifth that is held out for testing."""
    with np.load(path) as file:  # in random order
        test_x, x = torch.from_numpy(file["x"]).tensor_split([len(file["x"]) // 5])
        test_y, y = torch.from_numpy(file["y"]).tensor_split([len(file["y"]) // 5])
    return x, y, test_x, test_y


def train(
    model: nn.Module, x: Tensor, y: Tensor, epochs: int, mu: float = 0.0, rate: float = 0.1
) -> None:
    """Train in place; mu > 0 makes it FedProx."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    proximal = ProximalTerm(model, mu)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(32):
            optimizer.zero_grad()
            (cross_entropy(model(x[batch]), y[batch]) + proximal()).backward()
            optimizer.step()


def collect_moments(
    model: nn.Module, x: Tensor, y: Tensor, epochs: int, rate: float = 0.1
) -> Moments:
    """Train on at the same rate, for SWAG; return the moments of the weights after each epoch.

    A rate at which the weights leave the valley that they were in spoils the mean.
    """
    moments = Moments()
    for _ in range(epochs):
        train(model, x, y, epochs=1, rate=rate)
        moments.add(model)
    return moments


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return accuracy and mean loss."""
    scores = model.eval()(x)
    hits = (scores.argmax(dim=1) == y).float()
    return {"accuracy": hits.mean().item(), "loss": cross_entropy(scores, y).item()}


def main() -> None:
    """Take part, with the data and in the way that the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a file from data.py")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--name", default="", help="register under it, or go on as who did here")
    who.add_argument("--token", default="", help="be this token's user")
    parser.add_argument("--port", type=int, help="be posted to there, 0 is any that is free")
    parser.add_argument("--epochs", type=int, default=5, help="per round")
    parser.add_argument("--proximal-mu", type=float, default=0.0, help="above 0: FedProx")
    parser.add_argument("--threads", type=int, default=1, help="of torch, which takes all cores")
    parser.add_argument("--once", action="store_true", help="end with the first training")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x, y, test_x, test_y = load(options.data)
    listen = None if options.port is None else ("127.0.0.1", options.port)
    client = Client(
        name=options.name, token=options.token, register=True, model=digits_net, listen=listen
    )

    @client.train
    def update(model, job):
        train(model, x, y, options.epochs, options.proximal_mu)
        return model, len(y)

    @client.moments
    def moments(model, job):
        found = collect_moments(model, x, y, options.epochs)
        return found.first, found.second, len(y)

    @client.test
    def test(model, job):
        return evaluate(model, test_x, test_y)

    client.run(once=options.once)


if __name__ == "__main__":
    main()
