"""A nursery for the tests that need real runners."""

from tests.ai.runner.conftest import launcher

__all__ = ["launcher"]
