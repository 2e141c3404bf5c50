"""Noise on an update, and what it promises.

McMahan, Ramage, Talwar, Zhang 2018, "Learning Differentially Private Recurrent Language Models",
arXiv 1710.06963, algorithm 1: a client clips its update, all tensors as one vector, to an L2
norm. There, and in Geyer, Klein, Nabi 2017, "Differentially Private Federated Learning: A Client
Level Perspective", arXiv 1712.07557, a trusted server adds Gaussian noise to the sum. Here each
client adds it to its own update, before the server sees that: local noise, which has to be larger
for the same promise.

What is promised is about one client's update as a whole, and so about all its samples, towards
whoever sees it. Outside of it are the number of samples, metrics, tensors that aren't of floating
point, and anything else the client sends. The promise is that of real numbers; floating-point
noise has gaps that an attacker may use (Mironov 2012, "On Significance of the Least Significant
Bits for Differential Privacy").
"""

from collections.abc import Collection
from fnmatch import fnmatchcase
from math import inf, isfinite, log, sqrt
from typing import Any

import numpy as np

from fl_client.errors import Unfit
from fl_client.job import Arrays, Job
from fl_client.weights import to_arrays


class PrivateUpdate:
    """Clips and noises what a training changes in the weights that were there when this was made.

    Make it before training, and return what a call gives: `return private(model), len(y)`. What
    the job's training doesn't exchange stays as it is, and takes no part in the norm. `clip`,
    `sigma` and `generator` are `privatize`'s.
    """

    def __init__(
        self,
        model: Any,
        job: Job,
        *,
        clip: float,
        sigma: float,
        generator: np.random.Generator | None = None,
    ) -> None:
        self._received = {name: array.copy() for name, array in to_arrays(model).items()}
        self._exchange = (job.options.get("exchange") or {}).get("tensors") or {}
        self._noise: dict[str, Any] = {"clip": clip, "sigma": sigma, "generator": generator}

    def __call__(self, model: Any) -> Arrays:
        """Return the weights to be sent; the model, a module or arrays, isn't changed."""
        trained = to_arrays(model)
        first = _first_names(trained)
        included = {first[name] for name in self._matched("include", ("*",), trained)}
        excluded = {first[name] for name in self._matched("exclude", (), trained)}
        sent = {name: trained[name] for name in included - excluded}
        noised = privatize(sent, self._received, **self._noise)
        return {name: noised.get(first[name], array) for name, array in trained.items()}

    def _matched(self, key: str, default: Collection[str], names: Collection[str]) -> set[str]:
        patterns = self._exchange.get(key, default)
        return {name for name in names if any(fnmatchcase(name, p) for p in patterns)}


def _first_names(arrays: Arrays) -> dict[str, str]:
    """Return by name the first name of the same numbers: tied weights are one tensor of two names.

    They count once in the norm, and get the same noise.
    """
    firsts: dict[Any, str] = {}
    places = {name: (a.ctypes.data, a.shape, a.strides) for name, a in arrays.items()}
    return {name: firsts.setdefault(place, name) for name, place in places.items()}


def privatize(
    trained: Arrays,
    received: Arrays,
    *,
    clip: float,
    sigma: float,
    generator: np.random.Generator | None = None,
) -> Arrays:
    """Return `received` + Δ · min(1, clip / |Δ|) + N(0, sigma²), where Δ = `trained` - `received`.

    |Δ| is the L2 norm over all floating-point tensors together; `clip` and `sigma` are in the
    unit of the weights, and sigma is the noise of each single weight. Tensors of other types are
    passed on. All is reckoned in float64, and each tensor has its own type again. Without a
    `generator`, whose seed nobody else may know, the operating system gives a new one its seed.
    """
    if not (0 < clip < inf and 0 <= sigma < inf):
        raise ValueError("The norm to clip to is a number above 0, and sigma one from 0 on.")
    unknown = trained.keys() - received.keys()
    if unknown:
        raise Unfit(f"There was no weight {min(unknown)} before the training.")
    dice = generator or np.random.default_rng()
    floats = sorted(name for name, array in trained.items() if array.dtype.kind == "f")
    changes = {name: trained[name].astype("<f8") - received[name] for name in floats}
    norm = sqrt(sum(float(np.square(change).sum()) for change in changes.values()))
    if not isfinite(norm):
        raise Unfit("The trained weights aren't all finite numbers, so nothing of them is sent.")
    share = clip / max(norm, clip)
    sent = {
        name: received[name] + share * change + dice.normal(0, sigma, change.shape)
        for name, change in changes.items()
    }
    return trained | {name: np.asarray(a, trained[name].dtype) for name, a in sent.items()}


def epsilon(*, sensitivity: float, sigma: float, rounds: int, delta: float) -> float:
    """Return the ε that so many rounds of Gaussian noise have, together with a δ.

    Bun & Steinke 2016, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower
    Bounds", arXiv 1605.02635: a round is rho-zCDP with rho = (sensitivity / sigma)² / 2 (prop.
    1.6), rounds add up, also where each builds on those before, and rho-zCDP is
    (rho + 2·√(rho·ln(1/δ)), δ)-differential privacy (prop. 1.3). `sensitivity` is how far two
    updates may be apart, in the unit of sigma: 2 · clip towards who sees one client's, because
    either may be any vector of that norm.
    """
    if not (sensitivity > 0 and sigma > 0 and rounds >= 0 and 0 < delta < 1):
        raise ValueError("Sensitivity and sigma are above 0, and delta is between 0 and 1.")
    rho = rounds * (sensitivity / sigma) ** 2 / 2
    return rho + 2 * sqrt(rho * log(1 / delta))
