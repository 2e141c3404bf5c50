"""Inference: predictions of a model."""

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import IsAuthenticated

from fl_server_ai.inference import client
from fl_server_api.errors import Busy
from fl_server_api.openapi import STRANGER, answers
from fl_server_api.parsers import InputParser, MultiPartParser
from fl_server_api.permissions import UsesModel
from fl_server_api.serializers.inference import (
    CONTENT_TYPES,
    InferenceFormSchema,
    InferenceSchema,
    InferenceSerializer,
    input_path,
    is_json,
    read_model_id,
    read_return_format,
)
from fl_server_api.utils import AuthenticatedRequest, read_body
from fl_server_api.views.base import ViewSet
from fl_server_api.waiting import PREDICTIONS
from fl_server_core import models
from fl_server_core.connections import lend_connection

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


class Inference(ViewSet):
    """Predictions; whoever may download a model may ask for them."""

    permission_classes = [IsAuthenticated, UsesModel]
    parser_classes = [InputParser, MultiPartParser]

    @extend_schema(
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
    )
    def create(self, request: AuthenticatedRequest) -> FileResponse:
        """Predict.

        The input goes through the model's preprocessing, if it has any, and its uncertainty
        is found by the method of its training. A model of type MEAN is an ensemble.
        """
        with PREDICTIONS.place(request.user.pk) as may_wait:
            if not may_wait:  # nor is the input read
                raise Busy
            return self._predict(request)

    def _predict(self, request: AuthenticatedRequest) -> FileResponse:
        body = read_body(request)
        rows = models.Model.objects.visible().select_related("base_model")
        model = self.get_entity(rows, read_model_id(body))
        form = read_return_format(request, body)
        with input_path(request, body) as source:
            lend_connection()
            answer = client.predict(
                model.pk, source, user=request.user.pk, is_json=is_json(request), form=form
            )
        return FileResponse(answer, content_type=CONTENT_TYPES[form])
