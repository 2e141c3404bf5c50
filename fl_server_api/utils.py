"""Reading a request: what its path names, what its body holds."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

from django.core.exceptions import ObjectDoesNotExist
from django.core.exceptions import ValidationError as InvalidValue
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db.models import Model, QuerySet, UUIDField
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import NotFound, ParseError, ValidationError
from rest_framework.request import Request

from fl_server_core.compiled import compiled
from fl_server_core.models import Upload, User
from fl_server_core.resumable import WholeUpload
from fl_server_core.uploads import PostedFile, SentFile

M = TypeVar("M", bound=Model)

REPEATED = frozenset({"input_shape", "metric_names", "metric_values"})
"""Form fields that stand for lists."""

UPLOAD = "_upload"
"""What a field's name ends in that names an upload in place of a file."""

BRACKETED = re.compile(rf"({'|'.join(sorted(REPEATED))})\[(\d{{0,5}})\]")


class AuthenticatedRequest(Request):
    """A request whose user is known: a type for views, because they run after authentication."""

    user: User


Source = type[M] | QuerySet[M] | Callable[[], QuerySet[M]]
"""Rows, or what makes a queryset of rows whose ids are UUIDs: asking these for one is compiled."""


def get_entity(source: Source[M], id: object, name: str = "") -> M:
    """Return the row with this id; an unknown id and one that is no id at all are alike.

    `name` replaces the class's in the error, where the contract names another.
    """
    try:
        if isinstance(source, QuerySet):
            return source.get(pk=id)
        rows: list[M] = _by_id(source)(UUIDField().to_python(id))
        return rows[0]
    except (ObjectDoesNotExist, IndexError, InvalidValue, ValueError, OverflowError) as error:
        raise ParseError(f"{name or _rows(source).model.__name__} {id} not found.") from error


@cache
def _by_id(source: Source[M]) -> Callable[..., list[M]]:
    return compiled(lambda pk: _rows(source).filter(pk=pk).order_by())


def _rows(source: Source[M]) -> QuerySet[M]:
    if isinstance(source, QuerySet):
        return source
    if isinstance(source, type) and issubclass(source, Model):
        return source._default_manager.all()
    return cast(Callable[[], QuerySet[M]], source)()


def read_body(request: Request) -> dict[str, Any]:
    """Return the body's fields, of a form or of a JSON object; a REPEATED one is a list.

    Beside an upload that the query string names, they may be there as well, without a body.
    """
    data, query = request.data, request.query_params
    if data == {} and any(name.endswith(UPLOAD) for name in query):
        data = query
    if isinstance(data, MultiValueDict):
        data = _without_brackets(data)
        _check_form(data)
        return {name: data.getlist(name) if name in REPEATED else data[name] for name in data}
    if not isinstance(data, dict):
        raise ParseError("The body must be an object.")
    return data


def get_file(request: AuthenticatedRequest, name: str) -> SentFile:
    """Return an uploaded file that has to be there."""
    if (file := find_file(request, name)) is None:
        raise ParseError(f"No uploaded file '{name}' found.")
    return file


def find_file(request: AuthenticatedRequest, name: str) -> SentFile | None:
    """Return an uploaded file that may be missing."""
    file = request.FILES.get(name)
    if isinstance(file, TemporaryUploadedFile):
        return PostedFile(file)
    return find_whole(request, name)


def find_whole(request: AuthenticatedRequest, name: str) -> WholeUpload | None:
    """Return the file that came in parts before, if the body or the query string names one."""
    field = name + UPLOAD
    named = read_body(request).get(field) or request.query_params.get(field)
    return WholeUpload(find_upload(request.user, named)) if named else None


def find_upload(user: User, id: object) -> Upload:
    """Return the user's upload with this id; nobody else learns that there is one."""
    try:
        upload = get_entity(Upload.objects.filter(owner=user), id)
    except ParseError as error:
        raise NotFound(error.detail) from error
    upload.check_lifetime()
    return upload


def _without_brackets(form: MultiValueDict[str, Any]) -> MultiValueDict[str, Any]:
    """Put what came as `metric_names[]` (axios) or `metric_names[0]` (PHP) under its plain name."""
    parts = [(BRACKETED.fullmatch(name), name, values) for name, values in form.lists()]
    parts.sort(key=lambda part: int(part[0][2] or 0) if part[0] else 0)
    plain: MultiValueDict[str, Any] = MultiValueDict()
    for found, name, values in parts:
        plain.setlistdefault(found[1] if found else name).extend(values)
    return plain


def _check_form(form: MultiValueDict[str, Any]) -> None:
    """Refuse fields given twice, and text that isn't UTF-8 or can't be stored."""
    for name, values in form.lists():
        if len(values) > 1 and name not in REPEATED:
            raise ValidationError({name: ["This field was given more than once."]})
        for text in (name, *values):
            # Django puts this character where bytes are no UTF-8.
            if isinstance(text, str) and ("\0" in text or "\N{REPLACEMENT CHARACTER}" in text):
                raise ValidationError({name: ["Not UTF-8 text without NUL."]})
