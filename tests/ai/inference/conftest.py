"""A nursery for the tests that need real runners."""

from tests.ai.runner.conftest import _closed_afterwards, launcher

__all__ = ["_closed_afterwards", "launcher"]
