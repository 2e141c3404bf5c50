"""Trainings."""

from collections.abc import Collection
from dataclasses import asdict
from uuid import UUID

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework import decorators, status
from rest_framework.exceptions import ParseError
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from fl_server_ai.trainer import ModelTrainer, opening
from fl_server_ai.trainer.record import RecordReader
from fl_server_api.documented.training import documented
from fl_server_api.exports import send_metrics
from fl_server_api.orders import ordered, remove_participants, stop
from fl_server_api.parsers import AnyTypeJSONParser, JSONParser
from fl_server_api.permissions import IsActor, IsInvolved, IsOwner, ManagesTraining, SteersTraining
from fl_server_api.renderers import CSVRenderer, TensorBoardRenderer
from fl_server_api.serializers.export import MetricsExportSchema
from fl_server_api.serializers.generic import TrainingSerializer, TrainingSerializerWithRounds
from fl_server_api.serializers.model import ModelSerializer
from fl_server_api.serializers.record import RecordSchema, RecordSerializer
from fl_server_api.serializers.training import (
    ClientAdministrationBodySchema,
    CreateTrainingRequestSchema,
    RollbackBodySchema,
)
from fl_server_api.utils import AuthenticatedRequest
from fl_server_api.views.base import ViewSet
from fl_server_core import models, removal, signing, trainings
from fl_server_core.options import TrainingOptions

JSON = [JSONParser, AnyTypeJSONParser]


@documented
class Training(ViewSet):
    """Trainings; their actor and their participants see and run them, and so may operators."""

    permission_classes = [IsAuthenticated, IsInvolved]

    def list(self, request: AuthenticatedRequest) -> Response:
        """List the trainings whose actor the caller is."""
        rows = models.Training.objects.filter(actor=request.user)
        return self.listed(rows, TrainingSerializer, ids="participants")

    @decorators.permission_classes([IsAuthenticated, IsOwner])
    @decorators.parser_classes(JSON)
    def create(self, request: AuthenticatedRequest) -> Response:
        """Open a training."""
        wanted = asdict(CreateTrainingRequestSchema().load(request.data))
        model = self.get_entity(models.Model.objects.visible, wanted.pop("model_id"))
        training = opening.create_training(
            actor=request.user,
            model=model,
            participants=_find_users(wanted.pop("clients")),
            **wanted,
        )
        answer = {"detail": "Training created successfully!", "training_id": training.pk}
        if unknown := TrainingOptions.unknown(training.options):
            answer["unknown_options"] = unknown
        return Response(answer, status.HTTP_201_CREATED)

    def retrieve(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """Show a training and how far its present round is."""
        training = self.get_entity(_with_model, id)
        return Response(TrainingSerializerWithRounds(training).data)

    def record(self, request: AuthenticatedRequest, id: str) -> Response:
        """Show what made the versions of a training's model, signed.

        Each version with its updates, each call with those who have not answered it and why. Of
        long trainings some rounds at a time.
        """
        wanted = RecordSchema().load(request.query_params.dict())
        rows = models.Training.objects.select_related("actor", "model__owner")
        training = self.get_entity(rows, id)
        reader = RecordReader(training, wanted["first_round"], wanted["last_round"])
        return Response(signing.sign(RecordSerializer(reader.read()).data))

    @decorators.renderer_classes([JSONRenderer, CSVRenderer, TensorBoardRenderer])
    def metrics(self, request: AuthenticatedRequest, id: str) -> StreamingHttpResponse:
        """Export what participants have reported on a training's model, round by round.

        Long: a value a row, of all attempts. Wide: a row for each participant and round, with what
        counts of it, and after each tested round its means, as the participant `mean` without an
        id; a table has at most 1000 metrics. TensorBoard: a zip of event files, to be unpacked into
        a folder of its log directory.
        """
        wanted = MetricsExportSchema().load(request.query_params.dict())
        training = self.get_entity(_with_model, id)
        return send_metrics(training, request.accepted_renderer.format, wanted["shape"])

    @decorators.permission_classes([IsAuthenticated, IsActor])
    def destroy(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """Remove a training; its model stays."""
        removal.remove_training(self.get_entity(models.Training, id))
        return Response({"detail": "Training removed!"})

    @decorators.permission_classes([IsAuthenticated, ManagesTraining])
    @decorators.parser_classes(JSON)
    def register_clients(self, request: AuthenticatedRequest, id: str) -> Response:
        """Let users take part.

        In a running training they count from its next round on. Its actor adds them, and its
        participants unless `options.managed_by` is `actor`.
        """
        training = self.get_entity(models.Training, id)
        users = _find_users(ClientAdministrationBodySchema().load(request.data).clients)
        with ModelTrainer.locked(training.pk) as trainer:
            trainer.add_participants(users)
        return Response({"detail": "Users registered as participants!"}, status.HTTP_202_ACCEPTED)

    @decorators.parser_classes(JSON)
    def remove_clients(self, request: AuthenticatedRequest, id: str) -> Response:
        """Take users out.

        The present round goes on without them. Participants may always take themselves out, and
        others unless `options.managed_by` is `actor`.
        """
        training = self.get_entity(models.Training, id)
        ids = ClientAdministrationBodySchema().load(request.data).clients
        if set(ids) - {request.user.pk}:
            self.require(ManagesTraining, training)
        users = _find_users(ids)
        remove_participants(training, request.user, users)
        return Response({"detail": "Users removed from training participants!"})

    @decorators.permission_classes([IsAuthenticated, ManagesTraining])
    def start(self, request: AuthenticatedRequest, id: str) -> Response:
        """Start a training: its participants are notified.

        Its actor starts it, and its participants unless `options.managed_by` is `actor`.
        """
        training = self.get_entity(models.Training, id)
        with ordered(training, request.user) as trainer:
            trainer.start()
        return Response({"detail": "Training started!"}, status.HTTP_202_ACCEPTED)

    @decorators.permission_classes([IsAuthenticated, SteersTraining])
    def stop(self, request: AuthenticatedRequest, id: str) -> Response:
        """Stop a training.

        It ends in state `E` with that reason, and can be resumed.
        """
        training = self.get_entity(models.Training, id)
        stop(training, request.user)
        return Response({"detail": "Training stopped!"}, status.HTTP_202_ACCEPTED)

    @decorators.permission_classes([IsAuthenticated, SteersTraining])
    def resume(self, request: AuthenticatedRequest, id: str) -> Response:
        """Go on with a training that was stopped or ended in an error.

        It goes on at the round where it stands: answers that are there count, and whoever has
        not answered is notified again.
        """
        training = self.get_entity(models.Training, id)
        with ordered(training, request.user) as trainer:
            trainer.resume()
        return Response({"detail": "Training resumed!"}, status.HTTP_202_ACCEPTED)

    @decorators.permission_classes([IsAuthenticated, SteersTraining])
    @decorators.parser_classes(JSON)
    def roll_back(self, request: AuthenticatedRequest, id: str) -> Response:
        """Go back to a checkpoint of the model.

        The training goes on from there, whatever state it is in: later versions stay
        checkpoints, and no answer given so far counts any more.
        """
        training = self.get_entity(models.Training, id)
        body = RollbackBodySchema().load(request.data)
        with ordered(training, request.user) as trainer:
            trainer.roll_back(body["checkpoint"])
        return Response({"detail": "Training rolled back!"}, status.HTTP_202_ACCEPTED)

    @decorators.permission_classes([IsAuthenticated, SteersTraining])
    def notify(self, request: AuthenticatedRequest, id: str) -> Response:
        """Notify those who are awaited once more."""
        training = self.get_entity(models.Training, id)
        with ordered(training, request.user) as trainer:
            notified = trainer.ask_again()
        return Response(
            {"detail": "Participants notified!", "notified": notified}, status.HTTP_202_ACCEPTED
        )

    def models(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """List the global model and the present updates to it."""
        training = self.get_entity(models.Training, id)
        return self.listed(trainings.find_models(training), ModelSerializer)

    def latest_models(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """List the global model and each participant's newest update to it."""
        training = self.get_entity(models.Training, id)
        return self.listed(trainings.find_latest_models(training), ModelSerializer)


def _find_users(ids: Collection[UUID]) -> Collection[models.User]:
    users = trainings.find_users(ids)
    if users is None:
        raise ParseError("Not all provided users were found!")
    return users


def _with_model() -> QuerySet[models.Training]:
    return models.Training.objects.select_related("model")
