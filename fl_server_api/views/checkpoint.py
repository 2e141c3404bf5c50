"""Checkpoints: the versions that a model has been through in its training."""

from django.http import HttpResponseBase
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from fl_server_api.documented.checkpoint import documented
from fl_server_api.downloads import Download, send
from fl_server_api.permissions import IsReader
from fl_server_api.serializers.checkpoint import CheckpointSerializer
from fl_server_api.utils import AuthenticatedRequest, get_entity
from fl_server_api.views.base import ViewSet
from fl_server_core import models, outgoing


@documented
class Checkpoint(ViewSet):
    """Versions of a model; its readers see and download them."""

    permission_classes = [IsAuthenticated, IsReader]

    def list_checkpoints(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """List a model's versions, oldest first.

        Each with the updates that it was merged from; the first is what the actor uploaded.
        """
        model = self.get_entity(models.Model.objects.visible, id)
        return self.listed(model.checkpoints.prefetch_related("updates"), CheckpointSerializer)

    def download_checkpoint(
        self, request: AuthenticatedRequest, id: str, checkpoint: str
    ) -> HttpResponseBase:
        """Download a version of a model.

        Knows `Range`, `If-Range` and `If-None-Match`.
        """
        model = self.get_entity(models.Model.objects.visible, id)
        version = get_entity(model.checkpoints.all(), checkpoint)
        return send(
            request,
            Download(
                filename=f"model-{model.pk}-round-{version.round}.pt",
                tag=version.sha256,
                open=lambda: outgoing.open_checkpoint(version),
                stored_name=str(version.file),
                size=version.size if version.file else 0,
            ),
        )
