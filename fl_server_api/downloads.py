"""Sending files: streamed, in parts if asked for, not at all if the client has them already."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from django.conf import settings
from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework import status
from rest_framework.request import Request

from fl_server_api.encodings import accepted
from fl_server_core import outgoing
from fl_server_core.models import Model
from fl_server_core.models.model import ModelKind
from fl_server_core.written import open_written

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
BLOCK = 1 << 18


@dataclass(frozen=True)
class Download:
    """A file to send; `tag` changes whenever the bytes do.

    `stored_name` is its name in the storage, if the stored file is what is sent. By `size`, if it
    is known, HEAD is answered without opening the file, which may mean to write or to fetch it.
    """

    filename: str
    tag: str
    open: Callable[[], BinaryIO]
    stored_name: str = ""
    size: int = 0
    encoding: str = ""


def archive(model: Model) -> Download:
    """Return the download of a model's file, or of an update made into one."""
    return Download(
        filename=f"model-{model.pk}.pt",
        tag=outgoing.model_tag(model),
        open=lambda: outgoing.open_model(model),
        stored_name="" if model.kind == ModelKind.LOCAL else str(model.file),
        size=outgoing.model_size(model),
    )


class Part:
    """A stretch of a file, read like a file, or sent by the system from where the file stands."""

    def __init__(self, file: BinaryIO, wanted: range) -> None:
        self._file, self._left = file, len(wanted)
        self.close, self.fileno = file.close, file.fileno
        file.seek(wanted.start)

    def read(self, size: int) -> bytes:
        """Return up to `size` of the bytes that are left."""
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


def compressed(request: Request, download: Download) -> Download:
    """Return a download of this address, in an encoding that the client accepts if it names one."""
    encoding = accepted(request.headers.get("Accept-Encoding", ""))
    if encoding is None:
        return download
    tag = f"{download.tag}.{encoding.name}"

    def write(target: Path) -> None:
        with download.open() as source, target.open("wb") as file, encoding.encode(file) as coded:
            copyfileobj(source, coded, BLOCK)

    path = request.path
    return replace(
        download, tag=tag, open=lambda: open_written(f"{path} {tag}", write), encoding=encoding.name
    )


def send(request: Request, download: Download) -> HttpResponseBase:
    """Answer a GET or HEAD, honouring If-None-Match, Range and If-Range."""
    etag = f'"{download.tag}"'
    answer: HttpResponseBase = (
        get_conditional_response(request._request, etag=etag)
        or _hand_over(download)
        or _stream(request, download, etag)
    )
    answer["ETag"] = etag
    answer["Accept-Ranges"] = "bytes"
    answer["Cache-Control"] = "private, no-cache"
    return answer


def _hand_over(download: Download) -> HttpResponse | None:
    """Leave the sending to a proxy that can reach the storage folder, if there is one."""
    if not (settings.FL_ACCEL_PREFIX and download.stored_name):
        return None
    answer = HttpResponse(headers=_headers(download))
    answer["X-Accel-Redirect"] = settings.FL_ACCEL_PREFIX.rstrip("/") + "/" + download.stored_name
    return answer


def _stream(request: Request, download: Download, etag: str) -> HttpResponseBase:
    if request.method == "HEAD" and download.size:
        code, headers, _ = _part(request, download, etag, download.size)
        return HttpResponse(status=code, headers=headers)
    file = download.open()
    code, headers, wanted = _part(request, download, etag, file.seek(0, os.SEEK_END))
    if request.method == "HEAD" or not wanted:
        file.close()
        return HttpResponse(status=code, headers=headers)
    return _streamed(Part(file, wanted), code, headers)


def _part(
    request: Request, download: Download, etag: str, size: int
) -> tuple[int, dict[str, str], range]:
    """Return the answer's status and headers, and which of so many bytes it holds."""
    headers = _headers(download)
    wanted = _wanted_range(request, etag, size)
    code: int = status.HTTP_200_OK
    if wanted is None:
        wanted = range(size)
    elif wanted:
        code = status.HTTP_206_PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {wanted[0]}-{wanted[-1]}/{size}"
    else:
        code = status.HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE
        headers = {"Content-Range": f"bytes */{size}"}
    headers["Content-Length"] = str(len(wanted))
    return code, headers, wanted


def _streamed(part: Part, code: int, headers: dict[str, str]) -> FileResponse:
    answer = FileResponse(part, status=code)
    answer.block_size = BLOCK
    for name, value in headers.items():
        answer[name] = value
    return answer


def _headers(download: Download) -> dict[str, str]:
    encoded = {"Content-Encoding": download.encoding} if download.encoding else {}
    return encoded | {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'filename="{download.filename}"',
    }


def _wanted_range(request: Request, etag: str, size: int) -> range | None:
    """Return the bytes asked for, none if they lie behind the end.

    None means all of them: no range, several, one of other units or of another version.
    """
    found = RANGE.fullmatch(request.headers.get("Range", ""))
    if not found or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = found.groups()
    if not first:
        return range(max(size - int(last), 0), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)
