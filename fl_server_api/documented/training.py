"""The documented answers about trainings."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema,
)

from fl_server_ai.trainer.record import TOO_LONG
from fl_server_api.openapi import STRANGER, answers, described, in_query, said
from fl_server_api.permissions import IsActor, SteersTraining
from fl_server_api.renderers import CSVRenderer, TensorBoardRenderer
from fl_server_api.serializers.export import MetricsExportSchema
from fl_server_api.serializers.generic import TrainingSerializer, TrainingSerializerWithRounds
from fl_server_api.serializers.model import ModelSerializer
from fl_server_api.serializers.record import RecordSchema, SignedRecordSerializer
from fl_server_api.serializers.training import (
    ClientAdministrationBodySchema,
    CreateTrainingRequestSchema,
    NotifiedSerializer,
    RollbackBodySchema,
    TrainingCreatedSerializer,
    describe_strategies,
)

ID = "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"
UNKNOWN = {"detail": f"Training {ID} not found."}
UNKNOWN_USERS = {"detail": "Not all provided users were found!"}
CREATE_EXAMPLE = {
    "model_id": ID,
    "target_num_updates": 10,
    "metric_names": ["accuracy"],
    "aggregation_method": "FedAvg",
    "uncertainty_method": "MC_DROPOUT",
    "options": {"uncertainty": {"N": 10}},
    "clients": ["0d6f9c2e-5f0c-4d59-9a55-8d0a7c6c1b1f"],
}
CREATE = f"""
The body is read as JSON whatever its Content-Type. The model must be the caller's; if
a training has it already, the new one gets a copy at round 0.

{describe_strategies()}

With `options.daisy_chain_period` = d, which is for clients with very few samples, only every
d-th local round is merged and tested; after the others the models are permuted at random
and each client trains another's: `UPDATE_ROUND_START` then names that model.
`target_num_updates` counts the merges, in the training's JSON the local rounds, d times as
many.

Without `options.round` a round asks all participants and waits for all of them.
`sample` asks some, `quorum` with `deadline_seconds` lets it close without those who are
late, `stop_when` ends the training once a metric is good enough. `options.checkpoints`
says which versions of the model are kept. Options that the server doesn't know are kept
for the clients, and named in the answer.
""".strip()

FORMAT = OpenApiParameter(
    "format",
    enum=["json", "csv", "tensorboard"],
    description="The answer's form, before what `Accept` says; another is 404.",
)
WHOSE = {
    "round": {"type": "integer", "description": "The model's when it was reported."},
    "attempt": {"type": "integer"},
    "participant": {"type": "string", "description": "The user's name."},
    "participant_id": {"type": "string", "format": "uuid", "nullable": True},
    "time": {"type": "string", "format": "date-time"},
}
LONG_ROW = WHOSE | {
    "metric": {"type": "string"},
    "value": {"type": "number", "nullable": True},
    "value_binary": {
        "type": "string",
        "nullable": True,
        "description": "Base64 of what is no finite number.",
    },
}
WIDE_ROW = WHOSE | {
    "metrics": {
        "type": "object",
        "additionalProperties": {"type": "number"},
        "description": "Numbers by name.",
    }
}
METRICS = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "object", "properties": row, "required": list(row)}
            for row in (LONG_ROW, WIDE_ROW)
        ]
    },
}

documented = described(
    list=extend_schema(responses=answers({200: TrainingSerializer(many=True)})),
    create=extend_schema(
        description=CREATE,
        request={"application/json": CreateTrainingRequestSchema},
        examples=[OpenApiExample("Ten rounds", CREATE_EXAMPLE, request_only=True)],
        responses=answers(
            {201: TrainingCreatedSerializer},
            {
                400: [
                    {"target_num_updates": ["Must be greater than or equal to 1."]},
                    {"clients": {"0": ["Not a valid UUID."]}},
                    {"detail": f"Model {ID} not found."},
                    UNKNOWN_USERS,
                ],
                403: [STRANGER],
            },
        ),
    ),
    retrieve=extend_schema(
        responses=answers({200: TrainingSerializerWithRounds}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
    record=extend_schema(
        parameters=in_query(RecordSchema, ""),
        responses=answers(
            {200: SignedRecordSerializer},
            {
                400: [UNKNOWN, [TOO_LONG], {"first_round": ["Not a valid integer."]}],
                403: [STRANGER],
            },
        ),
    ),
    metrics=extend_schema(
        parameters=[FORMAT, *in_query(MetricsExportSchema, "")],
        responses=answers(
            {
                (200, "application/json"): METRICS,
                (200, CSVRenderer.media_type): OpenApiTypes.STR,
                (200, TensorBoardRenderer.media_type): OpenApiTypes.BINARY,
            },
            {
                400: [UNKNOWN, {"shape": ["Must be one of: long, wide."]}],
                403: [STRANGER],
                404: [{"detail": "Not found."}],
            },
        ),
    ),
    destroy=extend_schema(
        responses=answers(
            {200: said("Training removed!")}, {400: [UNKNOWN], 403: [{"detail": IsActor.message}]}
        )
    ),
    register_clients=extend_schema(
        request={"application/json": ClientAdministrationBodySchema},
        responses=answers(
            {202: said("Users registered as participants!")},
            {400: [UNKNOWN_USERS], 403: [STRANGER]},
        ),
    ),
    remove_clients=extend_schema(
        request={"application/json": ClientAdministrationBodySchema},
        responses=answers(
            {200: said("Users removed from training participants!")},
            {400: [UNKNOWN_USERS], 403: [STRANGER]},
        ),
    ),
    start=extend_schema(
        request=None,
        responses=answers(
            {202: said("Training started!")},
            {
                400: [
                    {"detail": "At least one participant must be registered!"},
                    {"detail": f"Training {ID} is not in state INITIAL!"},
                ],
                403: [STRANGER],
            },
        ),
    ),
    stop=extend_schema(
        request=None,
        responses=answers(
            {202: said("Training stopped!")},
            {400: [[f"Training {ID} is not running!"]], 403: [{"detail": SteersTraining.message}]},
        ),
    ),
    resume=extend_schema(
        request=None,
        responses=answers(
            {202: said("Training resumed!")},
            {
                400: [[f"Training {ID} is not in state ERROR!"]],
                403: [{"detail": SteersTraining.message}],
            },
        ),
    ),
    roll_back=extend_schema(
        request={"application/json": RollbackBodySchema},
        responses=answers(
            {202: said("Training rolled back!")},
            {
                400: [
                    {"checkpoint": ["Not a valid UUID."]},
                    [f"Checkpoint {ID} is none of this training's."],
                ],
                403: [{"detail": SteersTraining.message}],
            },
        ),
    ),
    notify=extend_schema(
        request=None,
        responses=answers(
            {202: NotifiedSerializer},
            {400: [[f"Training {ID} is not running!"]], 403: [{"detail": SteersTraining.message}]},
        ),
    ),
    models=extend_schema(
        responses=answers({200: ModelSerializer(many=True)}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
    latest_models=extend_schema(
        responses=answers({200: ModelSerializer(many=True)}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
)
