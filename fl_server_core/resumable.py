"""The bytes of uploads that come in parts: a file each, in a folder beside the stored ones.

The row says how many bytes count, and they are on the disk before it does. What the file has
beyond that, because a process died, is cut off when the next part comes; if it has less, as after
a restore, that counts. A lock on the file lets one request at a time write, and ends with it,
however it ends.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol
from uuid import UUID

from django.conf import settings
from django.db import transaction

from fl_server_core import quotas
from fl_server_core.connections import lend_connection
from fl_server_core.exceptions import InvalidRequest, Locked, TooLong, WrongChecksum, WrongOffset
from fl_server_core.files import ORPHAN_AGE, scratch_folder, sync_folder
from fl_server_core.models import Upload, User
from fl_server_core.models.upload import lifetime_end

PIECE = 1 << 14
"""What is read at once: of an unfinished one nothing is kept when the sender is cut off."""
KEEP_SECONDS = 2
"""So much is lost if the server dies."""

SETTLE_SECONDS, SETTLE_PAUSE = 2, 0.02


class Source(Protocol):
    """What a part is read from."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer at the end."""


@dataclass(frozen=True)
class Checksum:
    """What a part has to add up to; `algorithm` is one of hashlib's."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True)
class Part:
    """What a request brings of a file, from `offset` on: `size` bytes, unless it is cut off."""

    offset: int
    size: int
    source: Source
    checksum: Checksum | None = None


def create(*, owner: User, length: int, metadata: str) -> Upload:
    """Begin an upload of so many bytes, which count as stored from now on.

    Raises NoRoom, and QuotaReached.
    """
    quotas.check_uploads(owner)
    quotas.check_room(owner, length)
    upload = Upload(owner=owner, length=length, metadata=metadata, expires_at=lifetime_end())
    _path(upload.pk).touch(mode=0o600)
    sync_folder(settings.UPLOAD_DIR)
    upload.save(force_insert=True)
    return upload


def received(upload: Upload) -> int:
    """Return how many bytes are there and count."""
    try:
        return min(upload.offset, _path(upload.pk).stat().st_size)
    except FileNotFoundError:
        return 0


def settle(upload: Upload) -> None:
    """Wait a moment for a request that is at it, and read the row anew.

    Who asks how far an upload is may have lost the link, and the server not yet seen that.
    """
    until = time.monotonic() + SETTLE_SECONDS
    with suppress(FileNotFoundError):  # then nothing is there to wait for
        while time.monotonic() < until:
            with suppress(Locked), _locked(upload, "rb"):
                return
            lend_connection()
            time.sleep(SETTLE_PAUSE)
    upload.refresh_from_db()


def receive(upload: Upload, part: Part) -> None:
    """Keep what comes, also if it is cut off before its end.

    With a checksum all of it is kept, or nothing. Raises UploadRefused, and Upload.DoesNotExist
    if the upload is removed meanwhile.
    """
    with _locked(upload) as file:
        begin = received(upload)
        if part.offset != begin:
            raise WrongOffset(f"Upload {upload.pk} has come to {begin}, not to {part.offset}.")
        if part.size > upload.length - begin:
            raise TooLong(f"Only {upload.length - begin} bytes of upload {upload.pk} are missing.")
        if begin < upload.offset:
            upload.advance(begin)
        file.truncate(begin)
        file.seek(begin)
        if part.checksum:
            _write_checked(upload, file, part.source, part.checksum)
        else:
            _write(upload, file, part.source)


def _write(upload: Upload, file: BinaryIO, source: Source) -> None:
    due = time.monotonic() + KEEP_SECONDS
    try:
        for piece in _pieces(upload, file, source):
            file.write(piece)
            if time.monotonic() > due:
                _keep(upload, file)
                due = time.monotonic() + KEEP_SECONDS
    finally:
        _keep(upload, file)


def _write_checked(upload: Upload, file: BinaryIO, source: Source, checksum: Checksum) -> None:
    begin, found = file.tell(), hashlib.new(checksum.algorithm, usedforsecurity=False)
    for piece in _pieces(upload, file, source):
        found.update(piece)
        file.write(piece)
    if found.digest() != checksum.digest:
        file.truncate(begin)
        raise WrongChecksum(f"The {checksum.algorithm} of what has come is {found.hexdigest()}.")
    _keep(upload, file)


def _pieces(upload: Upload, file: BinaryIO, source: Source) -> Iterator[bytes]:
    while piece := source.read(min(PIECE, upload.length - file.tell())):
        yield piece


def _keep(upload: Upload, file: BinaryIO) -> None:
    """Have what is written so far count, once it is on the disk."""
    file.flush()
    if file.tell() != upload.offset:
        os.fsync(file.fileno())
        upload.advance(file.tell())


@contextmanager
def _locked(upload: Upload, mode: Literal["ab", "rb"] = "ab") -> Iterator[BinaryIO]:
    """Open the file, unless another request is at it, and read the row anew."""
    with _path(upload.pk).open(mode) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(f"A part of upload {upload.pk} is on its way already.") from error
        upload.refresh_from_db()
        yield file


@contextmanager
def known_or_gone(upload: Upload) -> Iterator[None]:
    """Remove an upload if the block fails, because nobody has heard of it yet."""
    try:
        yield
    except BaseException:
        remove(upload)
        raise


def remove(upload: Upload) -> None:
    """Delete an upload, its bytes once that is committed.

    Raises Upload.DoesNotExist if it is gone.
    """
    deleted, _ = Upload.objects.filter(pk=upload.pk).delete()
    if not deleted:
        raise Upload.DoesNotExist
    path = _path(upload.pk)
    transaction.on_commit(lambda: path.unlink(missing_ok=True), robust=True)


def find_strays() -> dict[Path, int]:
    """Return the files of no upload, with their bytes.

    Young ones aren't meant, because their row may not be committed yet.
    """
    limit, strays = time.time() - ORPHAN_AGE.total_seconds(), {}
    paths = {path.name: path for path in Path(settings.UPLOAD_DIR).iterdir()}
    known = {str(pk) for pk in Upload.objects.values_list("pk", flat=True)}
    for name in paths.keys() - known:
        with suppress(FileNotFoundError):  # used up meanwhile
            if (stat := paths[name].stat()).st_mtime < limit:
                strays[paths[name]] = stat.st_size
    return strays


def remove_expired() -> None:
    """Delete uploads that have waited too long, and files of none."""
    Upload.objects.expired().delete()
    for path in find_strays():
        path.unlink(missing_ok=True)


class WholeUpload:
    """An upload as the file that a request hands in."""

    added = 0

    def __init__(self, upload: Upload) -> None:
        """Raise InvalidRequest if a part of it is missing."""
        if (there := received(upload)) < upload.length:
            raise InvalidRequest(
                f"Upload {upload.pk} has {there} of its {upload.length} bytes: send the rest first."
            )
        self.upload = upload

    @contextmanager
    def held(self) -> Iterator[Path]:
        """Yield a second name of the file, so that nobody takes it away meanwhile."""
        with scratch_folder() as folder:
            path = folder / "file"
            try:
                os.link(_path(self.upload.pk), path)
            except FileNotFoundError as error:
                raise Upload.DoesNotExist from error
            yield path

    def spend(self) -> None:
        """Remove it: it was used."""
        remove(self.upload)


def _path(id: UUID) -> Path:
    return Path(settings.UPLOAD_DIR) / str(id)
