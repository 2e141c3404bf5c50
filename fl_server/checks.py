"""System checks on the settings; `manage.py check`, `migrate` and `serve` run them."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error

from fl_server import env


def check_environment(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 (Django's signature)
    **kwargs: Any,  # noqa: ARG001
) -> list[CheckMessage]:
    """fl_server.E001: an environment variable can't be used."""
    return [Error(problem, id="fl_server.E001") for problem in env.problems]
