"""Where tensors are computed with."""

import torch


class DeviceMissing(RuntimeError):
    """The machine lacks the device that the settings ask for."""


def pick_device(name: str) -> torch.device:
    """Return the device for `FL_DEVICE`; `auto` is CUDA where there is one.

    Raises `DeviceMissing`.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise DeviceMissing("FL_DEVICE is cuda, but torch finds no CUDA device on this machine.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
