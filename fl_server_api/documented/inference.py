"""The documented answers about predictions."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema

from fl_server_api.openapi import STRANGER, answers, described
from fl_server_api.serializers.inference import (
    InferenceFormSchema,
    InferenceSchema,
    InferenceSerializer,
)

BINARY = OpenApiResponse(
    OpenApiTypes.BINARY, description="A pickle, or safetensors: the same, as tensors."
)
NO_TENSOR = (
    "Model input could not be casted or interpreted as a PyTorch tensor object "
    "and no preprecessing is defined."
)
UNCAGED = "Models aren't run: this system can't hold them as FL_CAGE requires."
REFUSALS = [
    ["No 'model_id' provided in request."],
    {"detail": "Model 5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4 not found."},
    ["Unknown return format 'xml'. Supported are binary and json."],
    ["No uploaded file 'model_input' found."],
    [
        "Input shape does not match model input shape.",
        "The input's shape is [2, 4], the model's [null, 3]; null is any size.",
    ],
    [NO_TENSOR],
]

documented = described(
    create=extend_schema(
        request={"application/json": InferenceSchema, "multipart/form-data": InferenceFormSchema},
        responses=answers(
            {
                (200, "application/json"): InferenceSerializer,
                (200, "application/octet-stream"): BINARY,
            },
            {
                400: REFUSALS,
                403: [STRANGER],
                413: [{"detail": "The request's body is larger than 67108864 bytes."}],
                415: [{"detail": 'Unsupported media type "text/plain" in request.'}],
                500: [["Error loading torch object"]],
                503: [{"detail": "The server is busy; try again."}, {"detail": UNCAGED}],
                504: [{"detail": "The model took more than 30 seconds."}],
            },
        ),
    ),
)
