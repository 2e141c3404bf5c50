"""Cases kept elsewhere: scripts that are run as `NAME.py BASE_URL` and print OK as their last line.

`FL_TESTS_CASES` names their folder, as seen from the checkout; without it there are none.
"""

import os
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

FOLDER = os.environ.get("FL_TESTS_CASES", "")
SCRIPTS = sorted((ROOT / FOLDER).glob("*.py")) if FOLDER else []
assert bool(SCRIPTS) == bool(FOLDER), f"There is no script in {FOLDER}."
TRIES = 3
"""A script may compare times, which a busy machine upsets."""
__test__ = bool(FOLDER)  # for pytest: whether there are tests in here


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_case(script, embedded):
    command = [sys.executable, script, embedded]
    for _ in range(TRIES):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if done.stdout.splitlines()[-1:] == ["OK"]:
            return
    raise AssertionError(done.stdout + done.stderr)
