"""SWAG: several passes, each with weights drawn from a Gaussian that training left behind."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from fl_server_ai.failures import JobRefused
from fl_server_ai.uncertainty.walk import Prediction, Run, accumulator, walk


def swag(run: Run) -> Prediction:
    """Return the mean of passes with independently drawn weights; buffers stay as they are.

    Maddox et al. 2019, "A Simple Baseline for Bayesian Uncertainty in Deep Learning", arXiv
    1902.02476, section 3.2 (SWAG-Diagonal).
    """
    return walk(_outputs(run))


def _outputs(run: Run) -> Iterator[Tensor]:
    module = run.members[0].fresh()
    for _ in range(run.samples):
        draw(module, *run.moments)
        yield run.output(module)


def draw(module: nn.Module, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Set every parameter to a sample of N(first, second - first²).

    They hold the parameters by name, in the order of `parameters_to_vector`. Where they were made
    of weights without code they may hold buffers, too: these stay.
    """
    state, buffers = module.state_dict(), dict(module.named_buffers())
    drawn = [name for name in first if name not in buffers]
    if not first.keys() == second.keys() <= state.keys():
        raise JobRefused("The SWAG moments are not those of this model.")
    with torch.no_grad():
        for name in drawn:
            mean, mean_square = _real(first[name]), _real(second[name])
            # Rounding may leave less than the square of the mean.
            std = (mean_square - mean.square()).clamp(min=0).sqrt()
            state[name].copy_(mean + std * torch.randn_like(std))


def _real(values: Tensor) -> Tensor:
    if values.is_complex():
        raise JobRefused("SWAG knows no complex weights.")
    return values.to(accumulator(values))
