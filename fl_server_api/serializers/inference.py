"""Inference: what is asked of a model, and in which form it answers."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.utils.datastructures import MultiValueDict
from marshmallow import fields, validate
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from fl_server_api.serializers.fields import FormSchema, Upload
from fl_server_api.utils import AuthenticatedRequest, find_whole
from fl_server_core.files import scratch_path

CONTENT_TYPES = {
    "json": "application/json",
    "binary": "application/octet-stream",
    "safetensors": "application/octet-stream",
}
"""By `return_format`."""

_INPUT = (
    "Nested lists of numbers, or text: base64 of JSON lists, of a saved tensor (`torch.save`, "
    "safetensors) or of an image (PNG, JPEG, GIF, BMP, WEBP, TIFF)."
)


class _InferenceSchema(FormSchema):
    model_id = fields.UUID(required=True)
    return_format = fields.String(
        validate=validate.OneOf(list(CONTENT_TYPES)),
        metadata={
            "description": "`binary` is a pickle of torch tensors. If not given: `json` for a "
            "request in JSON, else `binary`."
        },
    )


class InferenceSchema(_InferenceSchema):
    """A prediction to be made, in JSON."""

    model_input = fields.Raw(
        required=True,
        metadata={
            "oneOf": [{"type": "array", "items": {}}, {"type": "string"}],
            "description": _INPUT,
        },
    )


class InferenceFormSchema(_InferenceSchema):
    """A prediction to be made, with its input as a file, or as a field of text."""

    model_input = Upload(
        required=True,
        metadata={"description": "A saved tensor, an image, or what JSON may hold."},
    )


class InferenceSerializer(serializers.Serializer[Any]):
    """A prediction; `binary` and `safetensors` hold the same as tensors."""

    inference = serializers.JSONField(
        help_text="Nested lists; null stands for NaN and infinities, which JSON doesn't have."
    )
    uncertainty = serializers.DictField(
        child=serializers.JSONField(),
        help_text=(
            "Empty without an uncertainty method; else `variance` and `std`, and for "
            "probabilities `predictive_entropy`, `expected_entropy` and `mutual_info`."
        ),
    )


def read_model_id(body: dict[str, Any]) -> Any:
    """Return which model is asked."""
    if "model_id" not in body:
        raise ValidationError(["No 'model_id' provided in request."])
    return body["model_id"]


def read_return_format(request: Request, body: dict[str, Any]) -> str:
    """Return the form of the answer: if none is asked for, the request's own."""
    form = body.get("return_format", "json" if is_json(request) else "binary")
    if not isinstance(form, str) or form not in CONTENT_TYPES:
        raise ValidationError([f"Unknown return format '{form}'. Supported are binary and json."])
    return form


@contextmanager
def input_path(request: AuthenticatedRequest, body: dict[str, Any]) -> Iterator[Path]:
    """Yield the path of a file with the input, as it was uploaded or as JSON; it may be moved."""
    if "model_input" not in body:
        with _whole_input(request) as path:
            yield path
        return
    value = body["model_input"]
    with scratch_path() as path:
        if isinstance(value, TemporaryUploadedFile):
            shutil.copyfile(value.temporary_file_path(), path)
        else:
            path.write_text(json.dumps(value) if is_json(request) else value)
        yield path


@contextmanager
def _whole_input(request: AuthenticatedRequest) -> Iterator[Path]:
    """Yield the path of what came in parts before; it is used up if there is a prediction."""
    file = find_whole(request, "model_input")
    if file is None:
        raise ValidationError(["No uploaded file 'model_input' found."])
    if file.upload.length > settings.FL_MAX_INFERENCE_BYTES:
        raise ValidationError([f"An input may have {settings.FL_MAX_INFERENCE_BYTES} bytes."])
    with file.held() as path:
        yield path
    file.spend()


def holds_json(request: Request, body: dict[str, Any]) -> bool:
    """Tell whether the input is JSON, as in a request in JSON that doesn't name an upload."""
    return is_json(request) and "model_input" in body


def is_json(request: Request) -> bool:
    """Whether the request came as JSON; else it is a form."""
    return not isinstance(request.data, MultiValueDict)
