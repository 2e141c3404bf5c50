"""Checkpoints: the versions that a model has been through in its training."""

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from fl_server_api.downloads import Download, send
from fl_server_api.openapi import STRANGER, answers, download
from fl_server_api.permissions import IsReader
from fl_server_api.serializers.checkpoint import CheckpointSerializer
from fl_server_api.utils import AuthenticatedRequest, get_entity
from fl_server_api.views.base import ViewSet
from fl_server_core import handouts, models

ID = "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"
UNKNOWN = {"detail": f"Model {ID} not found."}


class Checkpoint(ViewSet):
    """Versions of a model; its readers see and download them."""

    permission_classes = [IsAuthenticated, IsReader]

    @extend_schema(
        responses=answers({200: CheckpointSerializer(many=True)}, {400: [UNKNOWN], 403: [STRANGER]})
    )
    def list_checkpoints(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """List a model's versions, oldest first.

        Each with the updates that it was merged from; the first is what the actor uploaded.
        """
        model = self.get_entity(models.Model.objects.visible(), id)
        rows = model.checkpoints.prefetch_related("updates")
        return Response(CheckpointSerializer(rows, many=True).data)

    @extend_schema(
        responses=answers(
            download("An archive that `torch.load` or `torch.jit.load` reads."),
            {
                400: [UNKNOWN, {"detail": f"Checkpoint {ID} not found."}],
                403: [STRANGER],
                404: [{"detail": f"Checkpoint {ID} is no longer stored."}],
            },
        )
    )
    def download_checkpoint(
        self, request: AuthenticatedRequest, id: str, checkpoint: str
    ) -> HttpResponseBase:
        """Download a version of a model.

        Knows `Range`, `If-Range` and `If-None-Match`.
        """
        model = self.get_entity(models.Model.objects.visible(), id)
        version = get_entity(model.checkpoints.all(), checkpoint)
        return send(
            request,
            Download(
                filename=f"model-{model.pk}-round-{version.round}.pt",
                tag=version.sha256,
                open=lambda: handouts.open_checkpoint(version),
                stored_name=str(version.file),
                size=version.size if version.file else 0,
            ),
        )
