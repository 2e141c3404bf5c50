"""A fork server for the tests that need real runners."""

from tests.ai.inference.runner.conftest import _closed_afterwards, launcher

__all__ = ["_closed_afterwards", "launcher"]
