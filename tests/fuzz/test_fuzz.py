"""A short campaign, and that a campaign notices what it is for."""

import subprocess
import sys

import pytest


def fuzz(*options):
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", "4", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_nothing_that_is_admitted_falls_in_a_short_campaign():
    done = fuzz("--rounds", "1")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("operator", "fault"),
    [
        ("torch.promote_types", "SIGSEGV"),
        ("torch.__round_to_zero_floordiv", "SIGFPE"),
        ("torch.empty", "uninitialised"),
    ],
)
def test_a_campaign_notices(operator, fault):
    done = fuzz("--rounds", "40", "--operators", operator)
    assert done.returncode == 1
    assert f"{fault} " in done.stdout
