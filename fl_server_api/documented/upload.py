"""The documented answers about uploads in parts."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from fl_server_api import tus
from fl_server_api.openapi import answers, described

ID = "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"
UNKNOWN = {"detail": f"Upload {ID} not found."}
PART = {tus.CHUNK: OpenApiTypes.BINARY}
REFUSALS: dict[int, list[Any]] = {
    404: [UNKNOWN],
    410: [{"detail": f"Upload {ID} has expired: begin anew."}],
    412: [{"detail": tus.UnknownVersion.default_detail}],
}
OF_PARTS: dict[int, list[Any]] = {
    400: [{"detail": "The header Upload-Offset has to be a whole number."}],
    404: [UNKNOWN],
    409: [{"detail": f"Upload {ID} has come to 5, not to 0."}],
    413: [{"detail": f"Only 7 bytes of upload {ID} are missing."}],
    415: [{"detail": 'Unsupported media type "text/plain" in request.'}],
    423: [{"detail": f"A part of upload {ID} is on its way already."}],
    460: [{"detail": "The sha1 of what has come is 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12."}],
    507: [{"detail": "The server's disk is full; nothing of this request was kept."}],
}


def sent(name: str, kind: Any, meaning: str, *, required: bool = False) -> OpenApiParameter:
    """Describe a header of a request."""
    return OpenApiParameter(
        name, kind, OpenApiParameter.HEADER, description=meaning, required=required
    )


def told(*codes: int) -> list[OpenApiParameter]:
    """Describe the headers of these answers."""
    meanings = {
        "Upload-Offset": "How many bytes are there.",
        "Upload-Length": "How many there are to be.",
        "Upload-Expires": "Until when it is kept, if nothing more comes.",
    }
    return [
        OpenApiParameter(
            name, str, OpenApiParameter.HEADER, description=meaning, response=list(codes)
        )
        for name, meaning in meanings.items()
    ]


VERSION = OpenApiParameter(
    "Tus-Resumable", str, OpenApiParameter.HEADER, required=True, enum=[tus.VERSION]
)
CHECKSUM = sent(
    "Upload-Checksum", str, f"{', '.join(tus.ALGORITHMS)}, a space, and that of the body in base64."
)
LENGTH = {"type": "integer", "minimum": 0}

documented = described(
    create=extend_schema(
        parameters=[
            VERSION,
            sent("Upload-Length", LENGTH, "Bytes of the whole file.", required=True),
            sent("Upload-Metadata", str, "Names and values in base64; told again, not used."),
            CHECKSUM,
            OpenApiParameter(
                "Location", str, OpenApiParameter.HEADER, description="The upload.", response=[201]
            ),
            *told(201),
        ],
        request=PART,
        responses=answers(
            {201: None},
            OF_PARTS
            | REFUSALS
            | {
                400: [{"detail": "The header Upload-Length has to be a whole number."}],
                413: [{"detail": "An upload may have 4294967296 bytes."}],
                429: [{"detail": "You may have 20 uploads: use or delete some first."}],
            },
        ),
    ),
    show=extend_schema(parameters=[VERSION, *told(200)], responses=answers({200: None}, REFUSALS)),
    receive=extend_schema(
        parameters=[
            VERSION,
            sent("Upload-Offset", LENGTH, "Where the part begins.", required=True),
            CHECKSUM,
            *told(204),
        ],
        request=PART,
        responses=answers({204: None}, OF_PARTS | REFUSALS),
    ),
    destroy=extend_schema(parameters=[VERSION], responses=answers({204: None}, REFUSALS)),
)
