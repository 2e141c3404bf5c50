"""A training's options as a request has them, made of what `fl_server_core.options` declares."""

import dataclasses
import json
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, ClassVar

from django.conf import settings
from marshmallow import INCLUDE, RAISE, Schema, ValidationError, fields, validate, validates_schema

from fl_server_api.serializers.fields import SMALL, WholeNumber, short_text
from fl_server_core.options import (
    MethodOptions,
    Options,
    Patterns,
    Range,
    Share,
    TrainingOptions,
    default_of,
    is_group,
    types_of,
)


class Number(fields.Float):
    """A finite number or its text: no true."""

    def _validated(self, value: Any) -> float:
        if isinstance(value, bool):
            raise self.make_error("invalid")
        number: float = super()._validated(value)
        return number


class ShareNumber(Number):
    """A whole number from 1 on, or a fraction between 0 and 1."""

    default_error_messages = {"share": "Must be a whole number from 1 on, or between 0 and 1."}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        number = super()._deserialize(value, *args, **kwargs)
        if number is None or 0 < number < 1:
            return number
        if not (1 <= number <= SMALL and math.floor(number) == number):
            raise self.make_error("share")
        return int(number)


MAX_PATTERNS = 100

FIELDS: dict[Any, Callable[..., fields.Field[Any]]] = {
    bool: fields.Boolean,
    float: Number,
    int: WholeNumber,
    MethodOptions: fields.Dict,
    Patterns: partial(fields.List, short_text()),
    Share: ShareNumber,
    str: fields.String,
}


class GroupSchema(Schema):
    """A group of options; unknown ones are kept where the group says so."""

    group: ClassVar[type[Options]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(unknown=INCLUDE if self.group.keeps_unknown else RAISE, **kwargs)

    @validates_schema
    def check_together(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what each option alone allows, but not all together."""
        for path, sentence in self.group.read(data).objections():
            raise ValidationError(_at(path, sentence))


def _at(path: str, sentence: str) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first or "_schema": _at(rest, sentence) if rest else [sentence]}


@cache
def schema_of(group: type[Options]) -> type[GroupSchema]:
    """Return the schema of a group of options."""
    kinds = types_of(group)
    made = {each.name: _field(each, kinds[each.name]) for each in dataclasses.fields(group)}  # type: ignore[arg-type]
    schema: type[GroupSchema] = GroupSchema.from_dict(made, name=f"{group.__name__}Schema")  # type: ignore[assignment]
    schema.group = group
    schema.__doc__ = group.__doc__
    return schema


def _field(option: dataclasses.Field[Any], kind: Any) -> fields.Field[Any]:
    words, default = option.metadata["words"], default_of(option)
    described: dict[str, Any] = {
        "required": option.default is dataclasses.MISSING,
        "metadata": {"description": f"{words} Default: {default}." if default else words},
    }
    if is_group(kind):
        return fields.Nested(schema_of(kind), **described)
    if kind in FIELDS:
        return FIELDS[kind](validate=_limit(kind, option.metadata["within"]), **described)
    return fields.String(validate=validate.OneOf(kind.values), **described)


def _limit(kind: Any, within: Range | None) -> validate.Validator | None:
    if kind is str:
        return validate.Length(max=255)
    if kind is Patterns:
        return validate.Length(max=MAX_PATTERNS)
    if within is None:
        return None
    return validate.Range(
        within.least if within.above is None else within.above,
        within.most if within.below is None else within.below,
        min_inclusive=within.above is None,
        max_inclusive=within.below is None,
    )


OptionsSchema = schema_of(TrainingOptions)


def check_size(options: dict[str, Any]) -> None:
    """Refuse options that are too long to be shown in every list of trainings."""
    if len(json.dumps(options)) > settings.FL_MAX_OPTIONS_BYTES:
        raise ValidationError(f"Longer than {settings.FL_MAX_OPTIONS_BYTES} bytes as JSON.")
