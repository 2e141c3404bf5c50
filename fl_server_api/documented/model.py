"""The documented answers about models."""

from drf_spectacular.utils import extend_schema

from fl_server_api.openapi import (
    STRANGER,
    answers,
    described,
    download,
    in_query,
    multipart,
    said,
    uploaded,
)
from fl_server_api.permissions import RemovesModel
from fl_server_api.serializers.metric import MetricSerializer, MetricsSchema
from fl_server_api.serializers.model import (
    CreateMeanModelSchema,
    ModelMetadataSerializer,
    ModelSerializer,
    ModelUploadedSerializer,
    PreprocessingSchema,
    ServingSchema,
    TensorsSchema,
    UploadModelSchema,
)
from fl_server_api.serializers.update import MomentsSchema, UpdateSchema
from fl_server_core.model_code import REFUSALS, TRUSTED

ID = "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"
UNKNOWN = {"detail": f"Model {ID} not found."}
UNKNOWN_GLOBAL = {"detail": f"GlobalModel {ID} not found."}
NO_FILE = {"detail": "No uploaded file 'model_file' found."}
BAD_FILE = ["Invalid model file: The file is empty."]
NO_CODE = {"detail": REFUSALS[TRUSTED]}

documented = described(
    list=extend_schema(responses=answers({200: ModelSerializer(many=True)})),
    create=extend_schema(
        parameters=in_query(UploadModelSchema),
        request=uploaded(UploadModelSchema) | {"application/json": CreateMeanModelSchema},
        responses=answers(
            {201: ModelUploadedSerializer},
            {400: [["Missing required field: name"], NO_FILE, BAD_FILE], 403: [NO_CODE]},
        ),
    ),
    retrieve=extend_schema(
        parameters=in_query(TensorsSchema, ""),
        responses=answers(
            download(
                "What `torch.load` or `torch.jit.load` reads; of weights alone a state dict or "
                "safetensors, as they were uploaded. With `part` or `dtype` safetensors."
            ),
            {400: [UNKNOWN, [f"Model {ID} has no file."]], 403: [STRANGER]},
        ),
    ),
    update=extend_schema(
        parameters=in_query(UpdateSchema),
        request=uploaded(UpdateSchema),
        responses=answers(
            {201: said("Model Update Accepted")},
            {
                400: [
                    {"detail": "'round'"},
                    NO_FILE,
                    UNKNOWN_GLOBAL,
                    [f"Training with ID {ID} is not currently in round 3"],
                    BAD_FILE,
                ],
                403: [{"detail": f"You are not a participant of training {ID}!"}],
                404: [{"detail": f"Model with ID {ID} does not have a training process running"}],
            },
        ),
    ),
    receive_swag=extend_schema(
        request=multipart(MomentsSchema),
        responses=answers(
            {201: said("SWAG Statistic Accepted")},
            {
                400: [
                    {"detail": "'round'"},
                    {"detail": "No uploaded file 'first_moment_file' found."},
                    UNKNOWN_GLOBAL,
                    [f"Training with ID {ID} is in state O"],
                    ["Invalid first moment file: The file is empty."],
                ],
                403: [{"detail": f"You are not a participant of training {ID}!"}],
                404: [{"detail": f"Model with ID {ID} does not have a training process running"}],
            },
        ),
    ),
    destroy=extend_schema(
        responses=answers(
            {200: said("Model removed!")}, {400: [UNKNOWN], 403: [{"detail": RemovesModel.message}]}
        )
    ),
    metadata=extend_schema(
        responses=answers({200: ModelMetadataSerializer}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
    metrics=extend_schema(
        responses=answers({200: MetricSerializer(many=True)}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
    report_metrics=extend_schema(
        request=MetricsSchema,
        responses=answers(
            {201: ModelUploadedSerializer},
            {
                400: [
                    UNKNOWN,
                    {"detail": "Metric names or values are missing"},
                    {"detail": "Metric names and values must have the same length"},
                ],
                403: [STRANGER],
            },
        ),
    ),
    preprocessing=extend_schema(
        responses=answers(
            download("A module to call on the input before the model."),
            {
                400: [UNKNOWN],
                403: [STRANGER],
                404: [{"detail": f"Model '{ID}' has no preprocessing model defined."}],
            },
        )
    ),
    upload_preprocessing=extend_schema(
        request=multipart(PreprocessingSchema),
        responses=answers(
            {202: said("Proprocessing Model Upload Accepted")},
            {
                400: [UNKNOWN_GLOBAL, ["Invalid preprocessing file: The file is empty."]],
                403: [{"detail": f"You are not the owner of model {ID}!"}, NO_CODE],
            },
        ),
    ),
    upload_serving=extend_schema(
        request=multipart(ServingSchema),
        responses=answers(
            {202: said("Serving Module Upload Accepted")},
            {
                400: [
                    UNKNOWN_GLOBAL,
                    {"detail": "No uploaded file 'serving_file' found."},
                    [f"Model {ID} brings its own code: it predicts with that."],
                    ["Invalid serving file: The module lacks tensor 'head' of the model."],
                ],
                403: [{"detail": f"You are not the owner of model {ID}!"}, NO_CODE],
            },
        ),
    ),
)
