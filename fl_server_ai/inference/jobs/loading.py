"""Loading stored files with torch, in a runner."""

import copy
import importlib
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

import torch
from torch import nn

from fl_archive.safetensors_file import TensorFile
from fl_server_ai.device import DeviceMissing, pick_device
from fl_server_ai.failures import CannotLoad, Missing
from fl_server_ai.inference.jobs.scratch import scratch_copy
from fl_server_ai.inference.protocol import Load
from fl_server_ai.tensors import Tensors

UNUSED_OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@dataclass(frozen=True)
class Member:
    """A model: a loaded module, and for an update the numbers that go into it."""

    template: nn.Module
    numbers: Tensors | None = None

    def fresh(self) -> nn.Module:
        """Return a copy to run, in eval mode: what a run leaves in it is nobody else's."""
        module = copy.deepcopy(self.template)
        if self.numbers is not None:
            state = module.state_dict()
            with torch.no_grad():
                for name, values in self.numbers.items():
                    state[name].copy_(values)  # whatever device that is on
        return module.eval()


@dataclass(frozen=True)
class Served:
    """All that serving a model needs. `moments` are SWAG's first and second, or none."""

    members: list[Member]
    moments: list[Tensors]
    preprocessing: nn.Module | None
    device: torch.device


def open_device(name: str, memory_bytes: int) -> torch.device:
    """Return the device for this `FL_DEVICE`, ready for use; allow so much of a GPU's memory."""
    try:
        device = pick_device(name)
    except DeviceMissing as error:
        raise Missing(str(error)) from error
    torch.empty(0, device=device)
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory_bytes / total))
    return device


def load(job: Load, device: torch.device) -> Served:
    """Load what the job names. Raises `CannotLoad`."""
    modules: dict[BinaryIO, nn.Module] = {}
    for archive in dict.fromkeys(archive for archive, _ in job.members):
        modules[archive] = load_module(archive, device)
    return Served(
        members=[
            Member(modules[archive], Tensors(TensorFile(numbers)) if numbers else None)
            for archive, numbers in job.members
        ],
        moments=[Tensors(TensorFile(moment)) for moment in job.moments],
        # It sees what came in: on the processor.
        preprocessing=load_module(job.preprocessing, torch.device("cpu"))
        if job.preprocessing
        else None,
        device=device,
    )


def load_module(file: BinaryIO, device: torch.device) -> nn.Module:
    """Load an admitted archive. Raises `CannotLoad`."""
    try:
        _distrust_lstm(file)
        if _is_script(file):
            return _load_script(file, device)
        _provide_torchvision(file)
        file.seek(0)
        # Anything may be in a pickle; admission has seen to what is in this one.
        module = torch.load(file, map_location=device, weights_only=False)
    except ModuleNotFoundError as error:
        raise Missing(f"It needs {error.name}, which isn't installed on the server.") from error
    except Exception as error:  # loading runs what the file says
        raise CannotLoad(f"{type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise CannotLoad("The file holds no module.")
    return module


def _load_script(file: BinaryIO, device: torch.device) -> nn.Module:
    """Load by a path: of a file without one, torch takes three copies into memory."""
    with scratch_copy(file) as path:
        script: nn.Module = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    return script


def _is_script(file: BinaryIO) -> bool:
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _distrust_lstm(file: BinaryIO) -> None:
    """Switch oneDNN off in this process if the file, of either kind, names an LSTM.

    Its LSTM takes weights for the shapes that they should have and reads past their end; torch's
    own multiplies matrices, which checks. For others it stays on: convolutions are up to ten
    times as fast with it. A word too many found here costs time, no more.
    """
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith((".py", "/data.pkl"))]
        if any(b"lstm" in archive.read(name).lower() for name in names):
            torch.backends.mkldnn.set_flags(_enabled=False)  # type: ignore[no-untyped-call]


def _provide_torchvision(file: BinaryIO) -> None:
    """Import torchvision if the file names it, also one whose compiled part doesn't fit torch.

    The import then looks for operators that a detector would use. No transform does, and no
    other part of torchvision is admitted: declared without being there, they harm nobody.
    """
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if not any(b"torchvision" in archive.read(name) for name in names):
            return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for operator, schema in UNUSED_OPERATORS.items():
            torch.library.define(operator, schema)
        importlib.import_module("torchvision")
