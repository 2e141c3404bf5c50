"""The documented answers about checkpoints."""

from drf_spectacular.utils import extend_schema

from fl_server_api.openapi import STRANGER, answers, described, download
from fl_server_api.serializers.checkpoint import CheckpointSerializer

ID = "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"
UNKNOWN = {"detail": f"Model {ID} not found."}

documented = described(
    list_checkpoints=extend_schema(
        responses=answers({200: CheckpointSerializer(many=True)}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
    download_checkpoint=extend_schema(
        responses=answers(
            download("An archive that `torch.load` or `torch.jit.load` reads."),
            {
                400: [UNKNOWN, {"detail": f"Checkpoint {ID} not found."}],
                403: [STRANGER],
                404: [{"detail": f"Checkpoint {ID} is no longer stored."}],
            },
        )
    ),
)
