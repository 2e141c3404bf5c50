"""Queries whose SQL is made once.

Django makes a query's SQL anew whenever the query is asked, which takes it several times as long as
it takes the database to answer with a row. `compiled` is for the few that many requests ask.
"""

import random
import uuid
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import wraps
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet

Row = TypeVar("Row")
Value = uuid.UUID | int | str
Make = Callable[..., QuerySet[Any, Any]]


def compiled(make: Callable[..., QuerySet[Any, Row]]) -> Callable[..., list[Row]]:
    """Have the query that a function makes of its arguments compiled when it is first asked.

    The arguments are UUIDs, integers and strings, by position. They may only become values in the
    query, as they are: nothing else of it may depend on them, but on how many they are. What is
    returned are the rows.
    """
    made: dict[int, CompiledQuery] = {}

    @wraps(make)
    def ask(*values: Value) -> list[Row]:
        count = len(values)
        if count not in made:
            made[count] = CompiledQuery(make, values)
        return cast(list[Row], made[count].ask(values))

    return ask


def first(rows: list[Row]) -> Row | None:
    """Return the first of these rows, if there is any."""
    return rows[0] if rows else None


@dataclass(frozen=True)
class Argument:
    """Where in a query's parameters an argument goes."""

    index: int


class CompiledQuery:
    """The SQL of a query, with its parameters, some of which are arguments."""

    def __init__(self, make: Make, values: Sequence[Value]) -> None:
        self.make, self.rows = make, make(*values)
        self.sql, self.parameters = made = _with_arguments(make, values)
        if repr(made) != repr(_with_arguments(make, values)):  # psycopg's JSON has no equality
            raise TypeError(f"{make.__qualname__} makes its query of more than its arguments.")
        self.compiler = _compiler(self.rows)
        self.compiler.as_sql()  # finds out, too, how rows become what the queryset has

    def ask(self, values: Sequence[Value]) -> list[Any]:
        """Return the rows for these arguments, as the queryset would have them."""
        compiler = copy(self.compiler)
        compiler.connection = connections[DEFAULT_DB_ALIAS]  # this thread's
        compiler.as_sql = lambda: (self.sql, self.filled(values))
        query = SimpleNamespace(get_compiler=lambda using: compiler)  # noqa: ARG005 (Django's name)
        rows: Any = SimpleNamespace(query=query, db=DEFAULT_DB_ALIAS, _known_related_objects={})
        iterable: Any = self.rows._iterable_class
        return list(iterable(rows))

    def filled(self, values: Sequence[Value]) -> list[Any]:
        """Return the parameters for these arguments."""
        return [
            _as_parameter(values[each.index]) if isinstance(each, Argument) else each
            for each in self.parameters
        ]


def _compiler(rows: QuerySet[Any, Any]) -> Any:
    return rows.query.get_compiler(DEFAULT_DB_ALIAS)


def _with_arguments(make: Make, values: Sequence[Value]) -> tuple[str, list[Any]]:
    """Return a query's SQL and parameters; arguments are found by values that aren't elsewhere."""
    stand_ins = [_stand_in(value) for value in values]
    sql, parameters = _compiler(make(*stand_ins)).as_sql()
    known = [_as_parameter(each) for each in stand_ins]
    return sql, [Argument(known.index(each)) if each in known else each for each in parameters]


def _stand_in(value: Value) -> Value:
    """Return another value of the same type."""
    if isinstance(value, int):
        return random.getrandbits(31)
    return uuid.uuid4() if isinstance(value, uuid.UUID) else uuid.uuid4().hex


def _as_parameter(value: Value) -> Value:
    """Return what Django hands to the database."""
    native = connections[DEFAULT_DB_ALIAS].features.has_native_uuid_field
    return value.hex if isinstance(value, uuid.UUID) and not native else value
