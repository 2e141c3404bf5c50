"""One handler turns each exception into a status and a JSON body.

Nothing that a client sends may end in its last branch, a 500; one gets an id that the log has too.
"""

import errno
import logging
import sqlite3
import sys
import uuid
from collections.abc import Callable
from typing import Any

import marshmallow
import psycopg
from django.core import exceptions as django
from django.db import DataError, IntegrityError, OperationalError
from django.http import HttpRequest, HttpResponseBase, JsonResponse, UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework import status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from fl_server_ai import failures
from fl_server_api.tus import Refused
from fl_server_core import exceptions as fl
from fl_server_core.models import Model, Training, Upload

logger = logging.getLogger(__name__)


class TooLarge(drf.APIException):
    """The body is larger than the server takes."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request's body is too large."


class Busy(drf.APIException):
    """The database is busy for longer than we wait, or gone; the request may succeed later."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The server is busy; try again."
    wait = 1


class QuotaReached(drf.APIException):
    """The caller has as many of something as one user may have."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS


class DiskFull(drf.APIException):
    """There is no room for what was sent."""

    status_code = status.HTTP_507_INSUFFICIENT_STORAGE
    default_detail = "The server's disk is full; nothing of this request was kept."


class Unserved(drf.APIException):
    """The server runs no models."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Models aren't run: this system can't hold them as FL_CAGE requires."


class TooSlow(drf.APIException):
    """A model took longer than it may."""

    status_code = status.HTTP_504_GATEWAY_TIMEOUT


class Unloadable(drf.APIException):
    """A stored model that can't be loaded."""

    default_detail = "Error loading torch object"

    def __init__(self, *reasons: str) -> None:
        super().__init__()
        self.detail = [drf.ErrorDetail(text) for text in (self.default_detail, *reasons)]


NO_CONNECTION = "08000"
BUSY = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    NO_CONNECTION,
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "53300",  # too_many_connections
    "55P03",  # lock_not_available
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
)
"""What databases answer when too many want something, and when PostgreSQL ends meanwhile."""

FULL = (sqlite3.SQLITE_FULL, "53100")  # disk_full
DANGLES = (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, "23503")  # foreign_key_violation


def _code(error: Exception) -> int | str | None:
    """Return what the driver said: PostgreSQL's SQLSTATE or SQLite's code, extended or not.

    Where psycopg knows no SQLSTATE the server has said nothing: it couldn't be reached in time.
    """
    cause = error.__cause__
    if isinstance(cause, psycopg.OperationalError):
        return cause.sqlstate or NO_CONNECTION
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorcode", None)


def _operational(error: Exception) -> Exception:
    code = _code(error)
    code = code & 0xFF if isinstance(code, int) else code  # the primary code, as both lists have
    if code in FULL:
        return DiskFull()
    return Busy() if code in BUSY else error


def _integrity(error: Exception) -> Exception:
    dangles = _code(error) in DANGLES
    return drf.NotFound("What this refers to was removed meanwhile.") if dangles else error


def _os(error: Exception) -> Exception:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DiskFull() if full else error


# The first class that fits decides.
TRANSLATIONS: dict[type[Exception], Callable[[Any], Exception]] = {
    fl.CannotStart: lambda error: drf.ParseError(str(error)),
    fl.Unwilling: lambda error: drf.ParseError(str(error)),
    fl.InvalidRequest: lambda error: drf.ValidationError(list(error.args)),
    fl.NameTaken: lambda error: drf.ValidationError({error.field: [str(error)]}),
    fl.PermissionDenied: lambda error: drf.PermissionDenied(str(error)),
    fl.NotFound: lambda error: drf.NotFound(str(error)),
    fl.QuotaReached: lambda error: QuotaReached(str(error)),
    fl.NoRoom: lambda error: DiskFull(str(error)),
    fl.UploadRefused: lambda error: Refused(error),
    fl.TooMany: lambda error: drf.Throttled(error.seconds, str(error)),
    marshmallow.ValidationError: lambda error: drf.ValidationError(error.messages),
    failures.JobRefused: lambda error: drf.ValidationError(str(error).split("\n")),
    failures.RunnerDied: lambda error: drf.ValidationError([str(error)]),
    failures.NoWorker: lambda _: Busy(),
    failures.NoCage: lambda _: Unserved(),
    failures.TooSlow: lambda error: TooSlow(str(error)),
    failures.Missing: lambda error: Unloadable(str(error)),
    failures.CannotLoad: lambda _: Unloadable(),
    Training.DoesNotExist: lambda _: drf.NotFound("The training was removed meanwhile."),
    Model.DoesNotExist: lambda _: drf.NotFound("The model was removed meanwhile."),
    Upload.DoesNotExist: lambda _: drf.NotFound("The upload was removed or used meanwhile."),
    django.RequestDataTooBig: lambda _: TooLarge(),
    django.SuspiciousOperation: lambda error: drf.ParseError(str(error)),
    django.BadRequest: lambda error: drf.ParseError(str(error)),
    UnreadablePostError: lambda _: drf.ParseError("The request ended too early."),
    DataError: lambda _: drf.ParseError("A value can't be stored."),
    OperationalError: _operational,
    IntegrityError: _integrity,
    OSError: _os,
}


def handle(error: Exception, context: dict[str, Any]) -> Response:
    """Return the answer that an exception in a view becomes."""
    return exception_handler(_translated(error), context) or Response(
        _log_fault(context["request"], error), status.HTTP_500_INTERNAL_SERVER_ERROR
    )


def _translated(error: Exception) -> Exception:
    for cause, translate in TRANSLATIONS.items():
        if isinstance(error, cause):
            return translate(error)
    return error


def _log_fault(request: HttpRequest, error: Exception | None) -> dict[str, str]:
    error_id = str(uuid.uuid4())
    logger.error("error %s: %s %r", error_id, request.method, request.path, exc_info=error)
    return {"detail": "The server failed; its log knows why.", "error_id": error_id}


def answer_throttled(error: Exception) -> HttpResponseBase | None:
    """Answer a request outside of the API's views, such as a login, that came too often."""
    return _later(_translated(error)) if isinstance(error, fl.TooMany) else None


def _later(error: Exception | None) -> HttpResponseBase | None:
    if isinstance(error, (Busy, drf.Throttled)):
        headers = {"Retry-After": str(vars(error).get("wait", Busy.wait))}
        return JsonResponse({"detail": error.detail}, status=error.status_code, headers=headers)
    return None


def answer_bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001
    """Answer what Django itself refuses, such as a form that it can't read."""
    return JsonResponse({"detail": "Bad request."}, status=status.HTTP_400_BAD_REQUEST)


def answer_forgery(request: HttpRequest, reason: str = "") -> HttpResponseBase:  # noqa: ARG001
    """Answer a form that some other page may have sent."""
    detail = f"CSRF Failed: {reason or 'the form came from elsewhere'}"
    return JsonResponse({"detail": detail}, status=status.HTTP_403_FORBIDDEN)


def answer_fault(request: HttpRequest) -> HttpResponseBase:
    """Answer an error outside of the API's views, such as a login on a busy database."""
    error = sys.exc_info()[1]
    known = _translated(error) if isinstance(error, Exception) else None
    return _later(known) or JsonResponse(
        _log_fault(request, None), status=status.HTTP_500_INTERNAL_SERVER_ERROR
    )
