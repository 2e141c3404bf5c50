"""What the methods share: running a model once, and what several outputs say together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from fl_server_ai.failures import JobRefused
from fl_server_ai.uncertainty.calling import call

CLASSES = 1
"""The dimension over which classes lie."""


@dataclass(frozen=True)
class Prediction:
    """The answer: `uncertainty` by the contract's names."""

    inference: Tensor
    uncertainty: dict[str, Tensor] = field(default_factory=dict)


class Member(Protocol):
    """A model to run."""

    def fresh(self) -> nn.Module:
        """Return a copy in eval mode, which may be changed."""


@dataclass(frozen=True)
class Run:
    """A batch to predict and all that a method does it with.

    `members` is the model, or are an ensemble's; `moments` are SWAG's first and second of the
    parameters by name, or none. `samples` tells how many to draw where a method draws some.
    """

    members: Sequence[Member]
    moments: Sequence[Mapping[str, Tensor]]
    batch: Tensor
    samples: int
    softmax: bool

    def output(self, module: nn.Module) -> Tensor:
        """Return the module's output for the batch; with `softmax`, as probabilities.

        The module gets a batch of its own: it may write into it.
        """
        output = real_numbers(call(module, self.batch.clone(), "The model"))
        if not self.softmax:
            return output
        if output.dim() <= CLASSES:
            raise JobRefused("Softmax needs an output with a dimension of classes.")
        return output.softmax(CLASSES, dtype=accumulator(output))


ARITHMETIC = frozenset(
    {
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    }
)
"""What torch can compare and average."""


def real_numbers(output: object) -> Tensor:
    """Return a model's output, truth values and types without arithmetic as float64.

    Raises `JobRefused` if it is anything else than a tensor that holds real numbers.
    """
    if not isinstance(output, Tensor) or output.layout != torch.strided or output.is_meta:
        raise JobRefused("The model's output is not a tensor of real numbers.")
    if output.is_complex() or output.is_quantized or output.is_nested:
        raise JobRefused("The model's output is not a tensor of real numbers.")
    return output if output.dtype in ARITHMETIC else output.to(torch.float64)


def accumulator(output: Tensor) -> torch.dtype:
    """Return what outputs are averaged in: float64 if they are, else float32."""
    return torch.promote_types(output.dtype, torch.float32)


class Spread:
    """Mean and unbiased variance of outputs that come one after another.

    Welford 1962, "Note on a method for calculating corrected sums of squares and products":
    no output is kept, and nothing cancels out as it does in E[x²] - E[x]².
    """

    def __init__(self, first: Tensor) -> None:
        self.count = 0
        self.mean = torch.zeros_like(first)
        self._squares = torch.zeros_like(first)

    def add(self, output: Tensor) -> None:
        """Take one more output into account."""
        self.count += 1
        off = output - self.mean
        self.mean += off / self.count
        self._squares += off * (output - self.mean)

    @property
    def variance(self) -> Tensor:
        """Divided by count - 1; 0 for a single output."""
        return self._squares / max(self.count - 1, 1)


def entropy(probabilities: Tensor) -> Tensor:
    """-Σ p ln p over the classes, in nats; 0 ln 0 is 0."""
    terms: Tensor = torch.special.entr(probabilities)
    return terms.sum(CLASSES)


def walk(outputs: Iterable[Tensor]) -> Prediction:
    """Return the mean of the outputs and how they differ.

    If all lie in [0, 1] they count as probabilities, and the entropies of their predictions
    are told: of the mean (all uncertainty), the mean over passes (aleatoric), and the
    difference, the mutual information of prediction and weights (epistemic). Depeweg et al.
    2018, "Decomposition of Uncertainty in Bayesian Deep Learning for Efficient and
    Risk-sensitive Learning", arXiv 1710.07283, section 3.
    """
    spread: Spread | None = None
    entropies: Spread | None = None
    for output in outputs:
        values = output.to(accumulator(output))
        if spread is None:
            spread = Spread(values)
            entropies = Spread(values.sum(CLASSES)) if values.dim() > CLASSES else None
        if values.shape != spread.mean.shape:
            raise JobRefused("The model's outputs differ in shape from pass to pass.")
        spread.add(values)
        if entropies is not None and not _are_probabilities(values):
            entropies = None
        if entropies is not None:
            entropies.add(entropy(values))
    if spread is None:
        raise JobRefused("There is nothing to predict with.")
    uncertainty = {"variance": spread.variance, "std": spread.variance.sqrt()}
    if entropies is not None:
        uncertainty |= _entropies(spread.mean, entropies.mean)
    return Prediction(spread.mean, uncertainty)


def _are_probabilities(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _entropies(mean: Tensor, expected: Tensor) -> dict[str, Tensor]:
    predictive = entropy(mean)
    return {
        "predictive_entropy": predictive,
        "expected_entropy": expected,
        # Never negative (Jensen); rounding could make it so.
        "mutual_info": (predictive - expected).clamp(min=0),
    }
