"""The network that the digits' clients train, written as a TorchScript archive.

    python model.py --seed 0 digits.pt

As a script it brings its own code, so the server can predict with it. `torch.save` of its
`state_dict()` would do for the clients, which have that code.
"""

import argparse

import torch
from torch import nn


def digits_net() -> nn.Module:
    """Return a small convolutional network: n x 1 x 8 x 8 images in, n x 10 scores out."""
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.jit.save(torch.jit.script(digits_net()), options.file)
