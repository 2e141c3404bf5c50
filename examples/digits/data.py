"""Splits scikit-learn's handwritten digits among clients, each with a skew of its own.

    python data.py --of 5 --seed 0 slices

writes `client-1.npz` ... `client-5.npz`, one file for each client, and `test.npz`, a part
that no client sees. A file holds `x` (n x 1 x 8 x 8, float32 in [0, 1]) and `y` (n, int64).
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Indices = NDArray[np.int64]

CLASSES = 10
TEST_SHARE = 0.2
SKEW = 0.3  # Dirichlet's alpha: the smaller, the fewer digits a client sees


def split(y: Indices, clients: int, seed: int) -> list[Indices]:
    """Return for each client the positions of its samples; each position goes to one client.

    The shares of each digit are drawn from a Dirichlet distribution (Hsu et al. 2019,
    "Measuring the Effects of Non-Identical Data Distribution"), anew until every client
    has at least a quarter of an equal share.
    """
    if not 1 <= clients <= 20:
        raise ValueError("The digits are enough for 1 to 20 clients.")
    rng = np.random.default_rng(seed)
    while True:
        parts = _draw_split(y, clients, rng)
        if min(len(part) for part in parts) >= len(y) / clients / 4:
            return parts


def _draw_split(y: Indices, clients: int, rng: np.random.Generator) -> list[Indices]:
    parts: list[list[Indices]] = [[] for _ in range(clients)]
    for digit in range(CLASSES):
        positions = rng.permutation(np.flatnonzero(y == digit))
        shares = rng.dirichlet([SKEW] * clients)
        cuts = (np.cumsum(shares)[:-1] * len(positions)).astype(int)
        for part, piece in zip(parts, np.split(positions, cuts), strict=True):
            part.append(piece)
    return [rng.permutation(np.concatenate(part)) for part in parts]


def write_slices(folder: Path, clients: int, seed: int) -> None:
    """Write every client's file and the common test set into the folder."""
    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    y = digits.target.astype(np.int64)
    rest, test = train_test_split(
        np.arange(len(y)), test_size=TEST_SHARE, random_state=seed, stratify=y
    )
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "test.npz", x=x[test], y=y[test])
    for number, part in enumerate(split(y[rest], clients, seed), start=1):
        np.savez(folder / f"client-{number}.npz", x=x[rest[part]], y=y[rest[part]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", type=int, default=5, help="number of clients")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_slices(options.folder, options.of, options.seed)
