"""Calling the user's functions with what they are to work on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from fl_client.errors import Untrusted
from fl_client.job import Answer, Arrays, Function, Job, read_answer
from fl_client.weights import load_into, open_model, read_arrays, to_arrays

HOLDS_CODE = (
    "The model of training {training} holds code of whoever made it, and loading it runs that "
    "here, with all that you may do. Give your own module to load its weights into (model=Net), or "
    "have it run in a process of its own (isolate=True), or trust its maker (trust_model=True)."
)

Factory = Callable[[], Any]


class Local:
    """Runs the functions in this process; keeps each training's model while it goes on.

    What a training doesn't exchange stays as one's own training has left it.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        model: Factory | None = None,
        *,
        trust_model: bool = False,
    ) -> None:
        self._functions, self._factory, self._trusts = functions, model, trust_model
        self._modules: dict[str, Any] = {}
        self._arrays: dict[str, Arrays] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has_begun(self, training: str) -> bool:
        """Tell whether a part of the model is enough to go on with."""
        return training in self._modules or training in self._arrays

    def run(self, job: Job, model: Path) -> Answer:
        """Call the function for a job with the model in a file; raises whatever it raises."""
        given = self._load(job, model)
        said = self._functions[job.kind](given, job)
        answer = read_answer(job.kind, said, given, to_arrays)
        if job.kind == "train" and job.training in self._arrays:
            self._arrays[job.training].update(answer.weights[0])
        return answer

    def end(self, training: str) -> None:
        """Forget a training that is over."""
        self._modules.pop(training, None)
        self._arrays.pop(training, None)

    def _load(self, job: Job, path: Path) -> Any:
        if self._factory is not None:
            return self._load_into_own(self._factory, job.training, path)
        with open_model(path) as file:
            form = file.format
        if form in ("torchscript", "module"):
            return self._load_code(job, path, form)
        arrays = self._arrays.setdefault(job.training, {})
        arrays.update(read_arrays(path))
        return {name: array.copy() for name, array in arrays.items()}

    def _load_into_own(self, factory: Factory, training: str, path: Path) -> Any:
        whole = training not in self._modules
        module = factory() if whole else self._modules[training]
        load_into(module, read_arrays(path), whole=whole)
        self._modules[training] = module
        return module

    def _load_code(self, job: Job, path: Path, form: str) -> Any:
        if not self._trusts:
            raise Untrusted(HOLDS_CODE.format(training=job.training))
        import torch

        if form == "torchscript":
            return torch.jit.load(str(path), "cpu")  # type: ignore[no-untyped-call]
        return torch.load(path, "cpu", weights_only=False)
