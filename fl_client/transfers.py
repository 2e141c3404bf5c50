"""Files that go on where a link has dropped: up by tus 1.0.0, down by `Range` and `If-Range`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import requests

from fl_client.errors import Refused
from fl_client.transport import BROKEN, BUSY, Patience, Transport, checked, retry_after, sentence

CHUNK = 16 << 20
"""Bytes that are sent in one request: a proxy may keep that much before the server has it."""

BLOCK = 1 << 18

TUS = {"Tus-Resumable": "1.0.0"}
RESUMES = (409, 423)
"""The server is further, or not yet as far, as one has thought: ask where it is."""

GONE = (404, 410)


@dataclass(frozen=True)
class Fetched:
    """A downloaded file, and the ETag that tells its version, without quotes."""

    path: Path
    tag: str


class Stretch:
    """Some bytes of a file, from where it stands, as the body of a request."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def __len__(self) -> int:
        return self._left

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` of the bytes that are left."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def upload(transport: Transport, file: Path) -> str:
    """Send a file in parts; return the upload's id, to be named in place of the file."""
    size = file.stat().st_size
    patience = Patience(transport.patience)
    upload_id, offset = _begin(transport, size), 0
    while offset < size:
        reason = _send_part(transport, upload_id, file, offset)
        try:
            reached = _offset(transport, upload_id)
        except Refused as refused:
            if refused.status not in GONE:
                raise
            upload_id, reached = _begin(transport, size), 0
        if reached > offset:
            patience.renew()
        elif reason:
            patience.pause(reason)
        offset = reached
    return upload_id


def _begin(transport: Transport, size: int) -> str:
    headers = TUS | {"Upload-Length": str(size)}
    answer = transport.ask("POST", "/api/uploads/", headers=headers)
    return answer.headers["Location"].rstrip("/").rpartition("/")[2]


def _offset(transport: Transport, upload_id: str) -> int:
    answer = transport.ask("HEAD", f"/api/uploads/{upload_id}/", headers=TUS)
    return int(answer.headers["Upload-Offset"])


def _send_part(transport: Transport, upload_id: str, file: Path, offset: int) -> str:
    """Send from there on; return why it didn't arrive, if it is to be tried again."""
    headers = TUS | {
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }
    with file.open("rb") as opened:
        left = opened.seek(0, 2) - offset
        opened.seek(offset)
        body: Any = Stretch(opened, min(left, CHUNK))
        try:
            answer = transport.try_once(
                "PATCH", f"/api/uploads/{upload_id}/", data=body, headers=headers
            )
        except BROKEN:
            return f"The upload to {transport.url} was cut off at {offset} bytes."
    if answer.status_code not in (*BUSY, *RESUMES, *GONE):
        checked(answer)
    return "" if answer.ok else sentence(answer)


def download(
    transport: Transport, path: str, target: Path, params: dict[str, str] | None = None
) -> Fetched:
    """Fetch a file to `target`, unless the version that is there already is the server's.

    What came before a link dropped, or before this program died, isn't fetched again.
    """
    place = _Place(target)
    patience = Patience(transport.patience)
    while True:
        before = place.reached
        try:
            return _fetch(transport, path, params or {}, place)
        except (*BROKEN, _Later) as error:
            if place.reached > before:
                patience.renew()
            at_least = error.seconds if isinstance(error, _Later) else 0.0
            patience.pause(
                f"The download from {transport.url} was cut off at {place.reached} bytes.", at_least
            )


class _Later(Exception):
    """The server is busy, or has sent less than it said."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds


class _Place:
    """Where a download goes: the file, the part of it that has come, and the tags of both."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.part = target.with_name(f"{target.name}.part")

    @property
    def reached(self) -> int:
        """How many bytes of it have come."""
        return self.part.stat().st_size if self.part.exists() else 0

    def tag_of(self, path: Path) -> str:
        """Return the version of a file that is there; nothing if it isn't whole or unknown."""
        noted = _noted(path)
        return noted.read_text() if path.exists() and noted.exists() else ""

    def note(self, path: Path, tag: str) -> None:
        """Say which version a file is of."""
        _noted(path).write_text(tag)

    def drop(self, path: Path) -> None:
        """Have neither the file nor its tag; the tag goes first, because it vouches for it."""
        _noted(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def finish(self) -> Fetched:
        """Let the part be the file."""
        tag = self.tag_of(self.part)
        self.drop(self.target)
        self.part.rename(self.target)
        self.note(self.target, tag)
        _noted(self.part).unlink()
        return self.fetched

    @property
    def fetched(self) -> Fetched:
        """The file as it is there."""
        return Fetched(self.target, self.tag_of(self.target).removeprefix("W/").strip('"'))


def _noted(path: Path) -> Path:
    return path.with_name(f"{path.name}.etag")


def _fetch(transport: Transport, path: str, params: dict[str, str], place: _Place) -> Fetched:
    headers = {"Accept-Encoding": "identity"}  # weights hardly become smaller
    if known := place.tag_of(place.target):
        headers["If-None-Match"] = known
    if begun := place.tag_of(place.part):
        headers |= {"Range": f"bytes={place.reached}-", "If-Range": begun}
    options: dict[str, Any] = {"params": params, "headers": headers, "stream": True}
    with transport.try_once("GET", path, **options) as answer:
        if answer.status_code == requests.codes.not_modified:
            return place.fetched
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            place.drop(place.part)
            raise _Later
        if answer.status_code in BUSY:
            raise _Later(retry_after(answer))
        _receive(checked(answer), place)
    return place.finish()


def _receive(answer: requests.Response, place: _Place) -> None:
    if answer.status_code != requests.codes.partial_content:
        place.drop(place.part)
        place.part.touch()
        place.note(place.part, answer.headers.get("ETag", ""))
    expected = place.reached + int(answer.headers.get("Content-Length", 0))
    with place.part.open("ab") as file:
        for piece in answer.iter_content(BLOCK):
            file.write(piece)
    if place.reached < expected:
        raise _Later


def forget(target: Path) -> None:
    """Delete a downloaded file, and what has come of a newer one."""
    place = _Place(target)
    for path in (place.target, place.part):
        place.drop(path)
