"""SWAG's moments: the means of the weights that a training goes through, and of their squares.

SWAG-Diagonal: Maddox et al. 2019, "A Simple Baseline for Bayesian Uncertainty in Deep Learning",
arXiv 1902.02476, section 3.2. docs/uncertainty.md says at which learning rate.
"""

from typing import Any

from fl_client.errors import Unfit
from fl_client.job import TRAIN, Arrays, Function, Job, read_answer
from fl_client.weights import load_into, to_arrays


class Moments:
    """Running means, in float64; `add` after each epoch, then return `first`, `second`."""

    def __init__(self) -> None:
        self.first: Arrays = {}
        self.second: Arrays = {}
        self._count = 0

    def add(self, model: Any) -> None:
        """Take the weights in as they are now; the model is a module, a state dict or arrays."""
        self._count += 1
        for name, array in to_arrays(model).items():
            if array.dtype.kind == "f":
                weights = array.astype("<f8")
                self._move(self.first, name, weights)
                self._move(self.second, name, weights**2)

    def _move(self, means: Arrays, name: str, value: Any) -> None:
        mean = means.get(name, value)
        means[name] = mean + (value - mean) / self._count


class SwagMoments:
    """The moments of some passes of one's own training, one after another."""

    def __init__(self, train: Function, passes: int = 5) -> None:
        self._train, self._passes = train, passes

    def __call__(self, model: Any, job: Job) -> tuple[Arrays, Arrays, int]:
        """Train on from a model; return both moments and the number of samples."""
        moments, samples = Moments(), 0
        for _ in range(self._passes):
            said = self._train(model, job)
            trained = read_answer(TRAIN, said, model, to_arrays)
            moments.add(trained.weights[0])
            samples, model = trained.samples, _gone_on(model, trained.weights[0])
        return moments.first, moments.second, samples


def swag_moments(train: Function, passes: int = 5) -> Function:
    """Return a function for `client.moments` that calls the one for training so many times."""
    if passes < 1:
        raise Unfit("Moments take at least one pass.")
    return SwagMoments(train, passes)


def _gone_on(model: Any, trained: Arrays) -> Any:
    """Return the model with these weights, which may be another object's."""
    if not hasattr(model, "state_dict"):
        return {name: array.copy() for name, array in trained.items()}
    load_into(model, trained, whole=False)
    return model
