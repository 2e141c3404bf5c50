"""The tus protocol 1.0.0, as far as it is headers and statuses.

https://tus.io/protocols/resumable-upload; what it stands for is in `fl_server_core.resumable`.
"""

import base64
import binascii
import hashlib
import re

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import http_date
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from fl_server_core import exceptions as fl
from fl_server_core.models import Upload
from fl_server_core.resumable import Checksum, Part, received

VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "checksum", "expiration", "termination")
ALGORITHMS = ("sha1", "sha256", "md5")
CHUNK = "application/offset+octet-stream"
METHODS = ("POST", "HEAD", "PATCH", "DELETE", "OPTIONS")
MAX_METADATA = 4096

NUMBER = re.compile(r"[0-9]{1,100}")
NAME = re.compile(r"[!-+\--~]+")  # ASCII without space and comma


class UnknownVersion(APIException):
    """The request doesn't say that it speaks this version."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = f"The header Tus-Resumable has to be {VERSION}."


class Refused(APIException):
    """The upload can't go on like this."""

    statuses: dict[type[fl.UploadRefused], int] = {
        fl.WrongOffset: status.HTTP_409_CONFLICT,
        fl.Expired: status.HTTP_410_GONE,
        fl.TooLong: status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
        fl.Locked: status.HTTP_423_LOCKED,
        fl.WrongChecksum: 460,
    }

    def __init__(self, error: fl.UploadRefused) -> None:
        self.status_code = self.statuses[type(error)]
        super().__init__(str(error))


def check_version(request: Request) -> None:
    """Raise UnknownVersion, but where it is asked which there are."""
    if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != VERSION:
        raise UnknownVersion


def method_of(request: HttpRequest) -> str:
    """Return the method that is meant, because some networks let no PATCH and DELETE pass."""
    meant = request.headers.get("X-HTTP-Method-Override", "").upper()
    return meant if meant in METHODS else request.method or ""


def name_version(response: Response) -> Response:
    """Say which version is spoken."""
    response["Tus-Resumable"] = VERSION
    if response.status_code == UnknownVersion.status_code:
        response["Tus-Version"] = VERSION
    return response


def read_length(request: Request) -> int:
    """Return how many bytes a new upload is to have."""
    length = _read_number(request, "Upload-Length")
    if length > settings.FL_MAX_UPLOAD_BYTES:
        raise fl.TooLong(f"An upload may have {settings.FL_MAX_UPLOAD_BYTES} bytes.")
    return length


def _read_number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not NUMBER.fullmatch(text):
        raise ParseError(f"The header {header} has to be a whole number.")
    return int(text)


def read_metadata(request: Request) -> str:
    """Return what is said about a new upload, as it came, once it is seen to be well-formed."""
    text = request.headers.get("Upload-Metadata", "").strip()
    if len(text) > MAX_METADATA:
        raise ParseError(f"The header Upload-Metadata may have {MAX_METADATA} characters.")
    pairs = [pair.strip().partition(" ") for pair in text.split(",")] if text else []
    names = [
        name for name, _, value in pairs if NAME.fullmatch(name) and _decode(value) is not None
    ]
    if len(set(names)) < len(pairs):
        raise ParseError("The header Upload-Metadata has to be names with values in base64.")
    return text


def _decode(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def find_part(request: Request) -> Part | None:
    """Return the first part of a new upload, if it comes along."""
    return _read_part(request, 0) if _body_size(request) else None


def read_part(request: Request) -> Part:
    """Return a further part."""
    return _read_part(request, _read_number(request, "Upload-Offset"))


def _read_part(request: Request, offset: int) -> Part:
    source = request._request
    if source.content_type != CHUNK:
        raise UnsupportedMediaType(source.content_type or "")
    return Part(offset, _body_size(request), source, _find_checksum(request))


def _body_size(request: Request) -> int:
    return int(request.META.get("CONTENT_LENGTH") or 0)


def _find_checksum(request: Request) -> Checksum | None:
    if (text := request.headers.get("Upload-Checksum")) is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise ParseError(f"A checksum is one of: {', '.join(ALGORITHMS)}.")
    digest = _decode(value)
    if digest is None or len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise ParseError(f"The header Upload-Checksum has no {algorithm} in base64.")
    return Checksum(algorithm, digest)


def answer(upload: Upload, code: int, **headers: str) -> Response:
    """Answer how far an upload is."""
    told = {
        "Upload-Offset": str(received(upload)),
        "Upload-Length": str(upload.length),
        "Upload-Expires": http_date(upload.expires_at.timestamp()),
        "Cache-Control": "no-store",
    }
    if upload.metadata:
        told["Upload-Metadata"] = upload.metadata
    return Response(status=code, headers=told | headers)


def answer_options() -> Response:
    """Answer what the server knows."""
    told = {
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(settings.FL_MAX_UPLOAD_BYTES),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return Response(status=status.HTTP_204_NO_CONTENT, headers=told)
