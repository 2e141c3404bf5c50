"""What a client is asked for, and what its functions answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_client.errors import Unfit

Arrays = dict[str, npt.NDArray[Any]]
"""Weights by name."""

Function = Callable[[Any, "Job"], Any]
"""One of the user's: it gets the model and the job."""

TRAIN, MOMENTS, TEST = "train", "moments", "test"

ASKED_BY = {"UPDATE_ROUND_START": TRAIN, "SWAG_ROUND_START": MOMENTS, "MODEL_TEST_ROUND": TEST}
"""What each call is for; all other messages only tell how a training goes."""

PHASES = {TRAIN: "update", MOMENTS: "swag", TEST: "test"}
"""What a training is in meanwhile."""


@dataclass(frozen=True)
class Job:
    """One thing to do: `kind` is train, moments or test; `options` are the training's."""

    kind: str
    training: str
    model: str
    round: int
    method: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came of it: weights, or the two moments' weights, or metrics alone."""

    weights: tuple[Arrays, ...] = ()
    samples: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


def read_answer(kind: str, said: Any, given: Any, to_arrays: Callable[[Any], Arrays]) -> Answer:
    """Return what a function said, in one form; raises `Unfit` with what it should have said.

    `given` is the model that it had.
    """
    return _READERS[kind](said, given, to_arrays)


def _read_trained(said: Any, given: Any, to_arrays: Callable[[Any], Arrays]) -> Answer:
    match said:
        case model, samples if _is_count(samples):
            return Answer((to_arrays(model),), int(samples))
        case model, samples, metrics if _is_count(samples) and _are_metrics(metrics):
            return Answer((to_arrays(model),), int(samples), _floats(metrics))
        case samples if _is_count(samples):
            return Answer((to_arrays(given),), int(samples))
    raise Unfit(
        "The function for training has to return the model and the number of its samples, and may "
        "return metrics: `return model, len(y)`, or `return model, len(y), {'loss': 0.1}`."
    )


def _read_moments(said: Any, given: Any, to_arrays: Callable[[Any], Arrays]) -> Answer:  # noqa: ARG001
    match said:
        case first, second, samples if _is_count(samples):
            return Answer((to_arrays(first), to_arrays(second)), int(samples))
    raise Unfit(
        "The function for moments has to return the means of the weights and of their squares, by "
        "name, and the number of its samples: `return first, second, len(y)`."
    )


def _read_metrics(said: Any, given: Any, to_arrays: Callable[[Any], Arrays]) -> Answer:  # noqa: ARG001
    if _are_metrics(said) and said:
        return Answer(metrics=_floats(said))
    raise Unfit("The function for testing has to return metrics: `return {'accuracy': 0.9}`.")


_READERS = {TRAIN: _read_trained, MOMENTS: _read_moments, TEST: _read_metrics}


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 0


def _are_metrics(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
