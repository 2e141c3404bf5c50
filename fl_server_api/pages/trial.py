"""A prediction for a page: the API's, of the model that the page shows."""

import json
from typing import Any, BinaryIO

from rest_framework.response import Response

from fl_server_api.utils import AuthenticatedRequest
from fl_server_api.views.inference import Inference

LONGEST = 1 << 20
"""Bytes of an answer that is read here; the API gives one of any length."""


class Trial(Inference):
    """Predicts with the model of the path, with the API's permissions, places and limits."""

    def create(self, request: AuthenticatedRequest, id: str = "") -> Any:  # noqa: ARG002
        """Predict; `answer` finds the id itself."""
        return super().create(request)

    def answer(self, request: AuthenticatedRequest) -> Response:
        """Answer with what JSON would hold; None is an answer that is too long to be shown."""
        model = self.find_model(self.kwargs["id"])
        with self.predict(request, model, "json") as file:
            return Response(_read(file))


def _read(file: BinaryIO) -> dict[str, Any] | None:
    text = file.read(LONGEST + 1)
    return json.loads(text) if len(text) <= LONGEST else None
