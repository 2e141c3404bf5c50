"""Inference: predictions of a model."""

from typing import BinaryIO

from django.http import FileResponse, HttpResponseBase
from rest_framework.permissions import IsAuthenticated

from fl_server_ai.inference import client
from fl_server_api.documented.inference import documented
from fl_server_api.errors import Busy
from fl_server_api.parsers import InputParser, MultiPartParser
from fl_server_api.permissions import UsesModel
from fl_server_api.serializers.inference import (
    CONTENT_TYPES,
    holds_json,
    input_path,
    read_model_id,
    read_return_format,
)
from fl_server_api.utils import AuthenticatedRequest, read_body
from fl_server_api.views.base import ViewSet
from fl_server_api.waiting import PREDICTIONS
from fl_server_core import models
from fl_server_core.connections import lend_connection


@documented
class Inference(ViewSet):
    """Predictions; whoever may download a model may ask for them."""

    permission_classes = [IsAuthenticated, UsesModel]
    parser_classes = [InputParser, MultiPartParser]

    def create(self, request: AuthenticatedRequest) -> HttpResponseBase:
        """Predict.

        The input goes through the model's preprocessing, if it has any, and its uncertainty
        is found by the method of its training. A model of type MEAN is an ensemble.
        """
        with PREDICTIONS.place(request.user.pk) as may_wait:
            if not may_wait:  # nor is the input read
                raise Busy
            return self.answer(request)

    def answer(self, request: AuthenticatedRequest) -> HttpResponseBase:
        """Predict with the model that the body names, and answer in the form that it asks for."""
        body = read_body(request)
        model = self.find_model(read_model_id(body))
        form = read_return_format(request, body)
        answer = self.predict(request, model, form)
        return FileResponse(answer, content_type=CONTENT_TYPES[form])

    def find_model(self, id: object) -> models.Model:
        """Return the model if the caller may use it."""
        return self.get_entity(models.Model.objects.visible().select_related("base_model"), id)

    def predict(self, request: AuthenticatedRequest, model: models.Model, form: str) -> BinaryIO:
        """Return the file with the model's answer to the input in the body."""
        body = read_body(request)
        with input_path(request, body) as source:
            lend_connection()
            in_json = holds_json(request, body)
            return client.predict(
                model.pk, source, user=request.user.pk, is_json=in_json, form=form
            )
