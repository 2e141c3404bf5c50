"""Compares a global model with models that each client trains alone.

    python compare.py slices initial.pt global.pt --epochs 25

A client's own model starts from the same initial one and sees the client's own data for
`--epochs`, as many as it saw in all rounds together. All are tested on `slices/test.npz`,
which nobody trained on. Prints `{"global": 0.95, "alone": [0.61, ...]}`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from client import evaluate, load, train


def compare(slices: Path, initial: str, final: str, epochs: int) -> dict[str, float | list[float]]:
    """Return the accuracies on the common test set."""
    with np.load(slices / "test.npz") as file:
        x, y = torch.from_numpy(file["x"]), torch.from_numpy(file["y"])
    alone = []
    for number in range(1, len(list(slices.glob("client-*.npz"))) + 1):
        own_x, own_y, *_ = load(str(slices / f"client-{number}.npz"))
        model = torch.jit.load(initial)
        train(model, own_x, own_y, epochs)
        alone.append(evaluate(model, x, y)["accuracy"])
    return {"global": evaluate(torch.jit.load(final), x, y)["accuracy"], "alone": alone}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slices", type=Path)
    parser.add_argument("initial")
    parser.add_argument("final")
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    print(json.dumps(compare(options.slices, options.initial, options.final, options.epochs)))
