"""System checks on the settings; `manage.py check`, `migrate` and `serve` run them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from fl_archive.admitted import parse_extra
from fl_server import env
from fl_server_core import signing


def check_environment(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 (Django's signature)
    **kwargs: Any,  # noqa: ARG001
) -> list[CheckMessage]:
    """fl_server.E001: an environment variable can't be used."""
    return [Error(problem, id="fl_server.E001") for problem in env.problems]


def check_model_classes(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 (Django's signature)
    **kwargs: Any,  # noqa: ARG001
) -> list[CheckMessage]:
    """fl_server.E002: FL_MODEL_CLASSES names something else than classes."""
    try:
        parse_extra(settings.FL_MODEL_CLASSES)
    except ValueError as error:
        return [Error(str(error), id="fl_server.E002")]
    return []


def check_audit_log(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 (Django's signature)
    **kwargs: Any,  # noqa: ARG001
) -> list[CheckMessage]:
    """fl_server.E004: FL_AUDIT_LOG names no file that could be written."""
    path = Path(settings.FL_AUDIT_LOG)
    place = path if path.exists() else path.parent  # it is made when there is an act
    if settings.FL_AUDIT_LOG and (path.is_dir() or not os.access(place, os.W_OK)):
        return [Error(f"FL_AUDIT_LOG can't be written: {path}.", id="fl_server.E004")]
    return []


def check_record_key(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 (Django's signature)
    **kwargs: Any,  # noqa: ARG001
) -> list[CheckMessage]:
    """fl_server.E003: FL_RECORD_KEY is no key; nor does the message show it."""
    try:
        if settings.FL_RECORD_KEY:
            signing.read_key(settings.FL_RECORD_KEY)
    except ValueError:
        sentence = "FL_RECORD_KEY must be 32 bytes in base64: `openssl rand -base64 32` makes it."
        return [Error(sentence, id="fl_server.E003")]
    return []
