"""SWAG's moments of the models that a training's merges have gone through."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from fl_archive.disk import Bytes
from fl_archive.errors import ArchiveError
from fl_archive.model import ModelFile, read_model
from fl_archive.safetensors_file import write_tensor_file
from fl_server_ai.aggregation.errors import Unusable
from fl_server_ai.tensors import ELEMENTS, elements


def make_moments(
    *, versions: Sequence[Path], first: Path, second: Path, progress: Callable[[], None]
) -> None:
    """Write the means of the parameters, and of their squares, over versions of one model.

    Each version counts equally. Maddox et al. 2019, "A Simple Baseline for Bayesian Uncertainty in
    Deep Learning", arXiv 1902.02476, section 3.2, with merged models for the epochs of one
    training. Both files are safetensors in float64, laid out as what `admit_moments` writes. Takes
    some megabytes of memory, however large the model is. `progress` is called before each tensor
    and may raise to abort. Raises `AggregationError`, `OSError`.
    """
    with ExitStack() as stack:
        try:
            archives = [stack.enter_context(read_model(path)) for path in versions]
        except ArchiveError as error:
            raise Unusable(f"A stored file can't be read. {error}") from error
        model = archives[0]
        layout = {name: ("F64", model.tensors[name].shape) for name in model.learned}
        for power, target in ((1, first), (2, second)):
            write_tensor_file(target, layout, _means(archives, power, progress))


def _means(
    archives: Sequence[ModelFile], power: int, progress: Callable[[], None]
) -> Iterator[Bytes]:
    """Yield the mean of the parameters' powers, window by window."""
    for name in archives[0].learned:
        progress()
        dtype = ELEMENTS[archives[0].tensors[name].dtype]
        for windows in zip(*(archive.windows(name) for archive in archives), strict=True):
            yield _mean([elements(window, dtype) for window in windows], power)


def _mean(values: Sequence[Tensor], power: int) -> Bytes:
    total = torch.zeros(values[0].shape, dtype=torch.float64)
    for value in values:
        total += value.to(torch.float64) ** power
    return (total / len(values)).view(torch.uint8).numpy()
