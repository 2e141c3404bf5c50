"""Model files on their way into the storage and back.

A file is written under SCRATCH_DIR, then moved into the storage under a fresh name; it
never changes there. Several rows may name one file. What a transaction replaces or deletes is let
go: it is deleted when that has committed, if no row names it then. `remove_orphans` deletes what a
crash has left. A reader that has a deleted file open can still read it to its end.
"""

import hashlib
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from django.apps import apps
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import DatabaseError, models, transaction
from django.db.models.fields.files import FieldFile
from django.utils import timezone

from fl_server_core.compiled import compiled

logger = logging.getLogger(__name__)

ORPHAN_AGE = timedelta(hours=1)
KEEP = "keep"
"""While the storage has a file of this name, nothing is deleted, because a backup is being made:
the files that the dump of the database names must be there to be copied."""

TOGETHER = 50
"""Names that one query looks for: each number of them is compiled apart."""


@dataclass(frozen=True)
class StoredFile:
    """A file in the storage; `size` in bytes."""

    name: str
    sha256: str
    size: int


class _Movable(File):  # type: ignore[type-arg]  # generic only in the stubs
    """A file that Django's storage on disk takes over by renaming."""

    def temporary_file_path(self) -> str:
        return str(self.name)


@contextmanager
def scratch_path() -> Iterator[Path]:
    """Yield the path of an empty file on the storage's disk; it is gone afterwards."""
    descriptor, name = tempfile.mkstemp(dir=settings.SCRATCH_DIR)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield the path of an empty folder on the storage's disk; it is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=settings.SCRATCH_DIR) as folder:
        yield Path(folder)


def store(path: Path, sha256: str = "") -> StoredFile:
    """Move a finished file into the storage; it is hashed unless whoever wrote it has done so.

    Whoever wrote it has put it on the disk, too.
    """
    with path.open("rb") as file:
        sha256 = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        name = default_storage.save(str(uuid.uuid4()), _Movable(file, name=str(path)))
    with suppress(NotImplementedError):  # the storage is no folder
        sync_folder(Path(default_storage.path(name)).parent)
    return StoredFile(name, sha256, size)


def sync_folder(path: Path) -> None:
    """Write a folder to the disk, because a power loss could lose a new file's name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def local_path(field: FieldFile) -> AbstractContextManager[Path]:
    """Yield a path under which a row's file can be mapped; a copy where it is remote.

    Raises FileNotFoundError when the storage has lost the file.
    """
    return stored_path(str(field.name))


@contextmanager
def stored_path(name: str) -> Iterator[Path]:
    """Do the same for the file of this name."""
    try:
        path = Path(default_storage.path(name))
    except NotImplementedError:  # the storage is no folder
        with scratch_path() as copy, default_storage.open(name) as source:
            with copy.open("wb") as target:
                for chunk in source.chunks():
                    target.write(chunk)
            yield copy
    else:
        yield path


def names_in(*querysets: models.QuerySet[Any]) -> set[str]:
    """Return the names of all files of these rows."""
    names: set[str] = set()
    for rows in querysets:
        fields = [field.name for field in _file_fields_of(rows.model)]
        names.update(name for row in rows.values_list(*fields) for name in row if name)
    return names


_LET_GO: ContextVar[set[str] | None] = ContextVar("let_go", default=None)


@contextmanager
def deleted_last() -> Iterator[None]:
    """Delete what is let go in this part of a transaction after all else that its commit causes.

    Messages needn't wait for a disk, and the rows are asked once for all files.
    """
    names: set[str] = set()
    token = _LET_GO.set(names)
    try:
        yield
    finally:
        _LET_GO.reset(token)
    let_go(names)


def let_go(names: Iterable[str | None]) -> None:
    """Delete these files once the transaction has committed, but for those that a row names."""
    gone, later = {name for name in names if name}, _LET_GO.get()
    if later is not None:
        later |= gone
    elif gone:
        transaction.on_commit(lambda: _delete_unnamed(gone), robust=True)


@contextmanager
def named_or_gone(*files: StoredFile) -> Iterator[None]:
    """Delete these files if the block fails, but for those that a row names all the same.

    A block that ends well has named them, or let them go.
    """
    try:
        yield
    except BaseException:
        try:
            _delete_unnamed({file.name for file in files})
        except DatabaseError:  # the error that the block has raised says more
            logger.warning("files that nobody may need are left", exc_info=True)
        raise


def _delete_unnamed(names: set[str]) -> None:
    if default_storage.exists(KEEP):
        return
    for some in _batched(sorted(names)):
        for name in set(some) - set(_named_of(*some)):
            discard(name)


@compiled
def _named_of(*names: str) -> models.QuerySet[Any]:
    first, *others = (
        rows.filter(**{f"{field}__in": names}).values_list(field, flat=True)
        for rows, field in _named()
    )
    return first.union(*others)


def _batched(names: list[str]) -> Iterator[list[str]]:
    """Yield them some at a time."""
    for start in range(0, len(names), TOGETHER):
        yield names[start : start + TOGETHER]


def discard(name: str) -> None:
    """Delete a stored file; if that fails, it is left to `remove_orphans`."""
    try:
        default_storage.delete(name)
    except Exception:  # storages have errors of their own, and a request shouldn't fail for that
        logger.warning("the file %s can't be deleted now", name, exc_info=True)


def take(name: str) -> BinaryIO:
    """Open a stored file and delete it; it can be read until it is closed."""
    with stored_path(name) as path:
        file = path.open("rb")
    discard(name)
    return file


def find_orphans() -> set[str]:
    """Return the names of stored files older than an hour that no row names.

    Younger ones stay, because their row may not be committed yet.
    """
    limit = timezone.now() - ORPHAN_AGE
    names = default_storage.listdir("")[1]
    orphans = {name for name in names if default_storage.get_modified_time(name) < limit}
    for rows, field in _named():
        orphans -= set(rows.values_list(field, flat=True))
    return orphans


def remove_orphans() -> int:
    """Delete these, and old scratch; return how many."""
    orphans = find_orphans()
    for name in orphans:
        default_storage.delete(name)
    return len(orphans) + _remove_old_scratch()


def _named() -> Iterator[tuple[models.QuerySet[Any], str]]:
    """Yield each field that names files, with the rows where it does."""
    for model in apps.get_app_config("fl_server_core").get_models():
        if not model._meta.proxy:
            for field in _file_fields_of(model):
                # Ordered by nothing, because a part of a union can't be.
                yield model._default_manager.exclude(**{field.name: ""}).order_by(), field.name


def indexes_by_name(table: str, *fields: str) -> list[models.Index]:
    """Return the indexes by which it is found which rows name a file."""
    return [
        models.Index(fields=[field], condition=~models.Q(**{field: ""}), name=f"{table}_{field}")
        for field in fields
    ]


def _file_fields_of(model: type[models.Model]) -> list[models.FileField]:
    fields = model._meta.concrete_fields
    return [field for field in fields if isinstance(field, models.FileField)]


def find_old_scratch() -> dict[Path, int]:
    """Return the files and folders that a crash has left in the making, with their bytes."""
    limit, old = time.time() - ORPHAN_AGE.total_seconds(), {}
    for path in Path(settings.SCRATCH_DIR).iterdir():
        with suppress(FileNotFoundError):  # its user may have deleted it meanwhile
            if path.stat().st_mtime < limit:
                parts = path.rglob("*") if path.is_dir() else [path]
                old[path] = sum(part.stat().st_size for part in parts)
    return old


def _remove_old_scratch() -> int:
    removed = 0
    for path in find_old_scratch():
        with suppress(FileNotFoundError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            removed += 1
    return removed
