"""Calling modules that somebody else wrote."""

from typing import Any

from torch import nn

from fl_server_ai.failures import JobRefused

MAX_REASON = 500


def call(module: nn.Module, value: Any, what: str) -> Any:
    """Return what the module makes of the value. Raises `JobRefused` with its reason."""
    try:
        return module(value)
    except Exception as error:  # anybody's code: it may raise anything
        raise JobRefused(f"{what} refuses the input: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return the sentence that counts: a script's error is a trace whose last line is it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1 if "TorchScript" in lines[0] else 0][:MAX_REASON]
