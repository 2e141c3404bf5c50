"""One model of a family, saved in each way that torch has, and what becomes of the file."""

import logging
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn
from torch.utils import _pytree

from fl_archive.admission import admit_model
from fl_archive.errors import ArchiveError
from fl_archive.model import ModelFile, read_model
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update
from fl_archive.writer import write_model

Operators = dict[str, set[str]]
"""The operators that a library's code calls, each with the families that need it."""
OPERATOR = re.compile(rb"(?<![\w.])(?:torch|ops\.prim)\.\w+(?=\()")
WAYS = ("traced", "scripted", "eager", "weights")
ADMITTED = "admitted"


@dataclass(frozen=True)
class Family:
    """A model, made without a download, and what it takes; `name` tells it from its library's."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Any, ...]]


@dataclass(frozen=True)
class Outcome:
    """`verdict` is ADMITTED, "refused", "changed" or, of torch alone, "not by torch"."""

    verdict: str
    why: str = ""


def attempts(
    family: Family, operators: Operators | None = None, ways: Sequence[str] = WAYS
) -> Iterator[tuple[str, Outcome]]:
    """The ways with what became of them, one after another."""
    for way in ways:
        with quiet():
            if way == "weights":
                yield way, _attempt_weights(family)
            else:
                code = defaultdict(set) if operators is None else operators
                yield way, _attempt(family, way, code)


def _attempt(family: Family, way: str, operators: Operators) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        try:
            inputs = _save(family, way, source)
            wanted = _outputs(source, way, inputs)
        except Exception as error:  # whatever a library does in torch's hands
            return Outcome("not by torch", _short(error))
        with read_model(source) as archive:
            _note(operators, archive, family.name)
        try:
            with admit_model(source, target):
                pass
        except ArchiveError as error:
            return Outcome("refused", str(error))
        same = _same(_outputs(target, way, inputs), wanted)
        return Outcome(ADMITTED) if same else Outcome("changed", "It computes something else.")


def _attempt_weights(family: Family) -> Outcome:
    """Save the weights alone in both formats, and do to them what a training does."""
    torch.manual_seed(0)
    module = family.make()
    if not module.state_dict():
        return Outcome("not by torch", "It has no weights.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(module.state_dict(), folder / "state_dict")
        save_model(module, f"{folder / 'safetensors'}")
        try:
            for form in ("state_dict", "safetensors"):
                _train(folder / form, folder)
        except ArchiveError as error:
            return Outcome("refused", str(error))
        other = family.make()
        other.load_state_dict(torch.load(folder / "state_dict.next", weights_only=True))
        third = family.make()
        load_model(third, f"{folder / 'safetensors.next'}")
        wanted = list(module.state_dict().values())
        same = all(_same(list(m.state_dict().values()), wanted) for m in (other, third))
        return Outcome(ADMITTED) if same else Outcome("changed", "The weights are others.")


def _train(source: Path, folder: Path) -> None:
    """Admit a model and an update that is the same, and write the next version, `….next`."""
    with admit_model(source, folder / "admitted", code=False) as model:
        (folder / "update").unlink(missing_ok=True)
        admit_update(source, model, folder / "update")
        with TensorFile(folder / "update") as update:
            values = ((name, update.raw(name)) for name in update.tensors)
            write_model(folder / "admitted", source.with_suffix(".next"), values)


def _save(family: Family, way: str, path: Path) -> tuple[Any, ...]:
    """Returns the inputs that it was traced with."""
    torch.manual_seed(0)
    module, inputs = family.make().eval(), family.inputs()
    if way == "eager":
        torch.save(module, path)
    elif way == "scripted":
        torch.jit.save(torch.jit.script(module), path)
    else:
        torch.jit.save(torch.jit.trace(module, inputs, strict=False, check_trace=False), path)
    return inputs


@torch.no_grad()
def _outputs(path: Path, way: str, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    model = torch.load(path, weights_only=False) if way == "eager" else torch.jit.load(path)
    torch.manual_seed(0)
    leaves = _pytree.tree_leaves(model(*inputs))
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(
        torch.equal(one.nan_to_num(), other.nan_to_num())
        for one, other in zip(some, others, strict=True)
    )


def _note(operators: Operators, archive: ModelFile, name: str) -> None:
    for source in archive.sources.values():
        for operator in OPERATOR.findall(source):
            operators[operator.decode()].add(name)


def _short(error: Exception) -> str:
    lines: Iterable[str] = (line.strip() for line in str(error).splitlines())
    return f"{type(error).__name__}: {next(filter(None, lines), '')[:100]}"


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries warn and log of much that doesn't matter here."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
