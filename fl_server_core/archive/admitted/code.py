"""The TorchScript code that a model may bring."""

from collections.abc import Mapping

from fl_server_core.archive.errors import Refused


def check_code(sources: Mapping[str, bytes]) -> None:
    """Refuse code members (`code/__torch__/….py` → source) that name what isn't admitted."""
    if sources:
        raise Refused("TorchScript code is not admitted.")
