"""Ids behind many-to-many relations, read without the rows that they belong to.

A list of models or trainings shows thousands of them, and none of those rows' fields.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from fl_server_core.compiled import compiled

Row = TypeVar("Row", bound=Model)


def with_ids(rows: QuerySet[Row] | list[Row], relation: str) -> list[Row]:
    """Return the rows, for each of which `ids_of` then knows the ids: one query for all."""
    found, keys = list(rows), _keys(rows)
    ids = defaultdict(list)
    if found:
        for row, other in _links(type(found[0]), relation, keys):
            ids[row].append(other)
    for each in found:
        setattr(each, _attribute(relation), ids[each.pk])
    return found


def _keys(rows: QuerySet[Row] | list[Row]) -> Any:
    if isinstance(rows, QuerySet):  # of more rows, maybe, than a statement can name
        return rows.order_by().values("pk")
    return [row.pk for row in rows]


def ids_of(row: Model, relation: str) -> list[UUID]:
    """Return the ids that a row is related to: those found before, or else asked for."""
    known: list[UUID] | None = getattr(row, _attribute(relation), None)
    if known is None:
        known = [other for _, other in _links_of_one(type(row), relation)(row.pk)]
        setattr(row, _attribute(relation), known)
    return known


def _links(model: type[Model], relation: str, rows: Any) -> QuerySet[Any, tuple[UUID, UUID]]:
    """Return pairs of ids, in the order that the related rows have where they have one."""
    field: Any = model._meta.get_field(relation)
    here, there = field.m2m_field_name(), field.m2m_reverse_field_name()
    links = field.remote_field.through.objects.filter(**{f"{here}__in": rows})
    ordered = links.order_by(there if field.related_model._meta.ordering else "pk")
    pairs: QuerySet[Any, tuple[UUID, UUID]] = ordered.values_list(f"{here}_id", f"{there}_id")
    return pairs


@cache
def _links_of_one(model: type[Model], relation: str) -> Callable[..., list[tuple[UUID, UUID]]]:
    return compiled(lambda row: _links(model, relation, [row]))


def _attribute(relation: str) -> str:
    return f"_{relation}_ids"
