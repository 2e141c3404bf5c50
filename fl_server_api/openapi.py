"""The API's description: what drf-spectacular can't see by itself.

Summaries and descriptions are the views' docstrings: the first line and the rest. Parameters,
bodies and answers are in `documented`, a module per noun. Requests are described by the
marshmallow schemas that read them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from apispec import APISpec
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from drf_spectacular import openapi
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.plumbing import get_doc
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from marshmallow import Schema
from rest_framework.viewsets import ViewSetMixin

from fl_server_api.renderers import StreamRenderer
from fl_server_api.serializers.generic import DetailSerializer, ErrorSerializer
from fl_server_api.serializers.model import KINDS
from fl_server_api.utils import UPLOAD

V = TypeVar("V", bound=ViewSetMixin)
Json = Any
Endpoint = tuple[str, str, str, Callable[..., Any]]
"""Path, its regular expression, method, view: as drf-spectacular lists them."""
OPENAPI_VERSION = "3.0.3"
MULTIPART = "multipart/form-data"

REFUSAL = {
    "description": "A sentence, a list of sentences, or sentences by field.",
    "anyOf": [
        {
            "type": "object",
            "properties": {"detail": {"type": "string"}},
            "required": ["detail"],
            "additionalProperties": False,
        },
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {}},
    ],
}
BESIDE_A_FILE = "Where the body is the file."
MEANINGS = {
    400: "The request can't be carried out.",
    401: "No credentials, or wrong ones.",
    403: "The caller may not do this.",
    404: "There is nothing of this kind here.",
    409: "A part begins elsewhere than the upload has come to.",
    410: "The upload was kept long enough.",
    412: "The request doesn't say that it speaks tus 1.0.0.",
    413: "The body is too large.",
    415: "The body is of no type that is read here.",
    416: "The range begins behind the end of the file.",
    423: "Another part of the same upload is on its way.",
    429: "Too much of something by one user or address; `Retry-After` may say when to try again.",
    460: "The part isn't what its checksum says; nothing of it is kept.",
    500: "What is stored can't be used.",
    503: "The server is busy.",
    504: "It took too long.",
    507: "There is no room for it.",
}
SOME_ID = "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"
NOBODY = {"detail": "Authentication credentials were not provided."}
STRANGER = {"detail": "You do not have permission to perform this action."}


def error_response(code: int, examples: Sequence[Json]) -> OpenApiResponse:
    """Describe an error by the bodies that it may come with."""
    return OpenApiResponse(
        REFUSAL if code in (400, 500) else ErrorSerializer,
        description=MEANINGS[code],
        examples=[
            OpenApiExample(_sentence(body)[:60], body, response_only=True) for body in examples
        ],
    )


def _sentence(body: Json) -> str:
    while not isinstance(body, str):
        body = next(iter(body.values())) if isinstance(body, Mapping) else body[0]
    return body


error_response_401 = error_response(401, [NOBODY])
error_response_403 = error_response(403, [STRANGER])


ANYWHERE = {
    429: error_response(429, [{"detail": "Too many wrong passwords."}]),
    503: error_response(503, [{"detail": "The server is busy; try again."}]),
}
OF_LISTS = {404: error_response(404, [{"detail": "Invalid page."}])}
OF_UPLOADS = {
    404: error_response(404, [{"detail": f"Upload {SOME_ID} not found."}]),
    410: error_response(410, [{"detail": f"Upload {SOME_ID} has expired: begin anew."}]),
}
OF_BODIES = {
    400: error_response(400, [{"detail": "The body must be an object."}]),
    413: error_response(413, [{"detail": "The request's body is larger than 65536 bytes."}]),
    415: error_response(415, [{"detail": 'Unsupported media type "text/plain" in request.'}]),
}


def answers(
    success: Mapping[Any, Any], errors: Mapping[int, Sequence[Json]] | None = None
) -> dict[Any, Any]:
    """Return all responses of an endpoint that asks for credentials."""
    described = {code: error_response(code, examples) for code, examples in (errors or {}).items()}
    return {**success, 401: error_response_401, **described}


def described(**operations: Callable[[Any], Any]) -> Callable[[type[V]], type[V]]:
    """Decorate a ViewSet: each method, by its name, with an `extend_schema`.

    drf-spectacular's `extend_schema_view` does that only for methods that DRF has names for.
    """

    def decorate(view: type[V]) -> type[V]:
        for name, describe in operations.items():
            describe(getattr(view, name))
        return view

    return decorate


def said(sentence: str) -> OpenApiResponse:
    """Describe an answer that only says what was done."""
    example = OpenApiExample(sentence, {"detail": sentence}, response_only=True)
    return OpenApiResponse(DetailSerializer, examples=[example])


def download(meaning: str) -> dict[Any, Any]:
    """Describe a file as the answer, whole or in part."""
    whole = OpenApiResponse(OpenApiTypes.BINARY, description=meaning)
    part = OpenApiResponse(OpenApiTypes.BINARY, description="The `Range` that was asked for.")
    return {
        (200, "application/octet-stream"): whole,
        (206, "application/octet-stream"): part,
        304: OpenApiResponse(description="`If-None-Match` names this very file."),
        416: OpenApiResponse(description=MEANINGS[416]),
    }


def multipart(schema: type[Schema]) -> dict[str, type[Schema]]:
    """Describe a body that comes with a file."""
    return {MULTIPART: schema}


def uploaded(schema: type[Schema]) -> dict[str, Any]:
    """Describe a body that comes with a model's file, or is that file."""
    return multipart(schema) | {"application/octet-stream": OpenApiTypes.BINARY}


def add_heads(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Have HEAD described where it isn't GET without a body."""
    methods = {path: getattr(view, "actions", {}) for path, _, _, view in endpoints}
    heads = {
        path: (path, regex, "HEAD", view)
        for path, regex, _, view in endpoints
        if "head" in methods[path] and "get" not in methods[path]
    }
    return [*endpoints, *heads.values()]


def in_query(schema: type[Schema], when: str = BESIDE_A_FILE) -> list[OpenApiParameter]:
    """Describe fields that are in the query string: of a form, where its file is the body."""
    described = _converter().schema2jsonschema(schema())["properties"]
    return [
        OpenApiParameter(
            name,
            {key: value for key, value in field.items() if key != "description"},
            description=" ".join(filter(None, [when, field.get("description")])),
        )
        for name, field in described.items()
        if not is_file(field)
    ]


def _converter() -> Any:
    spec = APISpec("", "", OPENAPI_VERSION)
    return OpenAPIConverter(OPENAPI_VERSION, lambda _: None, spec)


class AutoSchema(openapi.AutoSchema):
    """Docstrings become summaries and descriptions; a DELETE may have a body."""

    def get_summary(self) -> str | None:
        """Return the first line of the method's docstring."""
        return self._doc()[0].rstrip(".") or None

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular does itself
        """Return the rest."""
        return self._doc()[1]

    def get_operation_id(self) -> str:
        """Return the noun and what is done to it."""
        view = cast(ViewSetMixin, self.view)
        return f"{self.get_tags()[0]}_{view.action}"

    def map_renderers(self, attribute: str) -> list[Any]:
        """Leave out what is streamed: where that is an answer, the method says so itself."""
        renderers = self.view.get_renderers()
        streams = {getattr(one, attribute) for one in renderers if isinstance(one, StreamRenderer)}
        return [value for value in super().map_renderers(attribute) if value not in streams]

    def get_request_serializer(self) -> Any:
        """Every method with a body says so itself."""
        return None

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        """Add what every endpoint may answer, every list, whoever reads a body, or files."""
        described: dict[str, Any] = super()._get_response_bodies(direction)
        request = self.get_request_serializer()
        reads, files = request is not None, isinstance(request, dict) and MULTIPART in request
        describe: Callable[..., Any] = self._get_response_for_code
        lists = self._is_list_view()
        also = ANYWHERE | (OF_BODIES if reads else {}) | (OF_LISTS if lists else {})
        also |= OF_UPLOADS if files else {}
        for code, response in also.items():
            if str(code) not in described:
                described[str(code)] = describe(response, str(code), direction=direction)
        return described

    def _doc(self) -> tuple[str, str]:
        method = getattr(self.view, getattr(self.view, "action", None) or self.method.lower(), None)
        summary, _, rest = get_doc(method).partition("\n")
        return summary, rest.strip()

    def _get_request_body(self, direction: str = "request") -> Any:
        method, self.method = self.method, "PUT" if self.method == "DELETE" else self.method
        try:
            has_body = method != "DELETE" or self.get_request_serializer() is not None
            describe: Callable[[str], Any] = super()._get_request_body
            return describe(direction) if has_body else None
        finally:
            self.method = method


class MarshmallowExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # its registry's
    """Describes marshmallow schemas, given as classes, by apispec's converter."""

    target_class = "marshmallow.Schema"
    match_subclasses = True

    def get_name(self, auto_schema: openapi.AutoSchema, direction: str) -> str:  # noqa: ARG002
        """Return the component's name."""
        return str(self.target.__name__).removesuffix("Schema").removesuffix("Request")

    def map_serializer(self, auto_schema: openapi.AutoSchema, direction: str) -> Any:  # noqa: ARG002
        """Return the JSON schema, nested ones in place."""
        shown: dict[str, Any] = _converter().schema2jsonschema(self.target())
        return _with_uploads(shown) | {"description": self.target.__doc__}


def _with_uploads(shown: dict[str, Any]) -> dict[str, Any]:
    """Describe that an upload in parts may be named in place of each file."""
    files = {name for name, field in shown["properties"].items() if is_file(field)}
    others = {
        name + UPLOAD: {
            "type": "string",
            "format": "uuid",
            "description": f"The id of an upload, in place of `{name}`.",
        }
        for name in sorted(files)
    }
    required = [name for name in shown.pop("required", []) if name not in files]
    shown["properties"] = shown["properties"] | others
    return shown | ({"required": required} if required else {})


def is_file(field: Mapping[str, Any]) -> bool:
    """Tell whether a field is an uploaded file."""
    return field.get("format") == "binary"


class ModelExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # its registry's
    """Describes a model of any kind."""

    target_class = "fl_server_api.serializers.model.ModelSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: openapi.AutoSchema, direction: Any) -> Any:
        """Return one of the kinds, with what all of them have besides."""
        kinds = dict.fromkeys(KINDS.values())
        shown = {"oneOf": [auto_schema.resolve_serializer(kind, direction).ref for kind in kinds]}
        if self.target.also is None:
            return shown
        return {"allOf": [shown, auto_schema.resolve_serializer(self.target.also, direction).ref]}


class BasicScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its registry's
    """Describes HTTP Basic."""

    target_class = "fl_server_api.authentication.BasicAuthentication"
    name = "basicAuth"

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> dict[str, str]:  # noqa: ARG002
        """Return the scheme."""
        return {
            "type": "http",
            "scheme": "basic",
            "description": "User name and password, or the token and an empty password.",
        }
