"""Waiting for what must come, however busy the machine is."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 600
"""Seconds. A wait ends as soon as there is what it waits for, so a long limit takes time only of
a test that fails; a short one would fail tests on a busy machine."""


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return the first true value of the condition; fail when there is none in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.05)
    return value
