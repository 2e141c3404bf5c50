"""Models: their files, the updates to them, the metrics on them."""

from typing import Any

from django.http import HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework import decorators, status
from rest_framework.exceptions import NotFound
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from fl_archive.part import WHOLE
from fl_server_ai.trainer import ModelTrainer
from fl_server_ai.trainer.phases import SwagPhase, UpdatePhase
from fl_server_api.documented.model import documented
from fl_server_api.downloads import Download, archive, compressed, send
from fl_server_api.negotiation import accept_parameters
from fl_server_api.parsers import ModelFileParser
from fl_server_api.permissions import IsReader, OwnsModel, RemovesModel, ReportsOnModel, UsesModel
from fl_server_api.serializers.metric import (
    MetricSerializer,
    MetricsSchema,
    pair_metrics,
    require_metrics,
)
from fl_server_api.serializers.model import (
    ModelDescriptionSchema,
    ModelMetadataSerializer,
    ModelSerializer,
    TensorsSchema,
    read_members,
)
from fl_server_api.serializers.update import MomentsSchema, UpdateSchema
from fl_server_api.utils import AuthenticatedRequest, find_file, get_entity, get_file, read_body
from fl_server_api.views.base import ViewSet
from fl_server_core import models, outgoing, quotas, removal, uploads
from fl_server_core.files import named_or_gone
from fl_server_core.models.metric import record_metrics
from fl_server_core.models.model import ModelKind, ModelQuerySet

UPLOADS = [*ViewSet.parser_classes, ModelFileParser]


@documented
class Model(ViewSet):
    """Models; their readers download them, their owners and actors manage them."""

    permission_classes = [IsAuthenticated, IsReader]

    def list(self, request: AuthenticatedRequest) -> Response:
        """List the caller's models and the global models of its trainings."""
        rows = models.Model.objects.listed_for(request.user)
        return self.listed(rows, ModelSerializer, ids="members")

    @decorators.parser_classes(UPLOADS)
    def create(self, request: AuthenticatedRequest) -> Response:
        """Upload a model.

        A TorchScript archive or a saved `torch.nn.Module`, with its preprocessing if it needs
        any. Or weights alone, which no code comes with: a safetensors file or a saved state dict.
        Such a model is trained like any other, but can't be asked for predictions. The file may
        also be the whole body; the fields are in the query string then. A file that came in parts
        before is named by `model_file_upload`, also in JSON. A model of type MEAN has no file: it
        is JSON that names the models it averages.
        """
        body = read_body(request)
        fields = ModelDescriptionSchema().read(body) | {"owner": request.user}
        make = _create_mean if fields["kind"] == ModelKind.MEAN else _create_from_files
        model = make(request, body, fields)
        return Response(
            {"detail": "Model Upload Accepted", "model_id": model.pk}, status.HTTP_201_CREATED
        )

    @decorators.permission_classes([IsAuthenticated, UsesModel])
    def retrieve(self, request: AuthenticatedRequest, id: str) -> HttpResponseBase:
        """Download a model.

        Other participants' updates only in a daisy chain, which sends them round. Knows `Range`,
        `If-Range` and `If-None-Match`. With `part` or `dtype`, which may also be parameters of
        `Accept`, it is safetensors, compressed if `Accept-Encoding` allows that.
        """
        wanted = TensorsSchema().read(accept_parameters(request) | request.query_params.dict())
        model = self.get_entity(_visible, id)
        if not any(wanted.values()):
            return send(request, archive(model))
        answer = send(request, compressed(request, _tensors(model, wanted)))
        patch_vary_headers(answer, ["Accept", "Accept-Encoding"])
        return answer

    @decorators.parser_classes(UPLOADS)
    def update(self, request: AuthenticatedRequest, id: str) -> Response:
        """Hand in an update for the current round.

        A trained copy of the global model, or its state dict, or safetensors. Only the
        numbers are kept. Handing in again replaces one's own. The file may also be the whole
        body, which takes the server less work; the fields are in the query string then. A file
        that came in parts before is named by `model_file_upload`, also in JSON.
        """
        form = UpdateSchema().read(read_body(request))
        file = get_file(request, "model_file")
        model = get_entity(_visible, id, "GlobalModel").global_model
        training = _running_training(model)
        phase, encoding = UpdatePhase(training), form["encoding"]
        phase.check(request.user, form["round"], form["base"], encoding)
        said = {name: form[name] for name in ("round", "sample_size", "base")}
        metrics = pair_metrics(form)
        quotas.check_room(request.user, file.added)
        stored = uploads.store_update(model, file, request.user, phase.options.exchange, encoding)
        with named_or_gone(stored), ModelTrainer.locked(training.pk) as trainer:
            trainer.receive_update(owner=request.user, file=stored, metrics=metrics, **said)
            file.spend()
        return Response({"detail": "Model Update Accepted"}, status.HTTP_201_CREATED)

    def receive_swag(self, request: AuthenticatedRequest, id: str) -> Response:
        """Hand in the SWAG moments of the current round.

        Each file holds one flat tensor in the order of `parameters_to_vector`, or the
        parameters by name: the mean of the weights, and of their squares, over one's own
        training. Handing in again replaces one's own.
        """
        form = MomentsSchema().read(read_body(request))
        files = [get_file(request, f"{moment}_moment_file") for moment in ("first", "second")]
        model = get_entity(_visible, id, "GlobalModel").global_model
        training = _running_training(model)
        SwagPhase(training).check(request.user, form["round"])
        quotas.check_room(request.user, sum(file.added for file in files))
        first, second = uploads.store_moments(model, *files)
        with named_or_gone(first, second), ModelTrainer.locked(training.pk) as trainer:
            trainer.receive_moments(owner=request.user, first=first, second=second, **form)
            for file in files:
                file.spend()
        return Response({"detail": "SWAG Statistic Accepted"}, status.HTTP_201_CREATED)

    @decorators.permission_classes([IsAuthenticated, RemovesModel])
    def destroy(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """Remove a model, and with a global model its training."""
        removal.remove_model(self.get_entity(_visible, id))
        return Response({"detail": "Model removed!"})

    def metadata(self, request: AuthenticatedRequest, id: str) -> Response:
        """Describe a model."""
        model, context = self.get_entity(_visible, id), {"user": request.user.pk}
        return Response(ModelMetadataSerializer(model, context=context).data)

    def metrics(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """List the metrics on a model."""
        model = self.get_entity(_visible, id)
        return self.listed(model.metrics.current(), MetricSerializer)

    @decorators.permission_classes([IsAuthenticated, ReportsOnModel])
    def report_metrics(self, request: AuthenticatedRequest, id: str) -> Response:
        """Report metrics on a model, in its present round.

        Reporting again under the same name replaces the value.
        """
        model = self.get_entity(_visible, id)
        metrics = require_metrics(MetricsSchema().read(read_body(request)))
        training = model.find_training()
        if training is None:
            record_metrics(model=model, reporter=request.user, metrics=metrics)
        else:
            with ModelTrainer.locked(training.pk) as trainer:
                trainer.receive_metrics(model=model, reporter=request.user, metrics=metrics)
        return Response(
            {"detail": "Model Metrics Upload Accepted", "model_id": model.pk},
            status.HTTP_201_CREATED,
        )

    def preprocessing(self, request: AuthenticatedRequest, id: str) -> HttpResponseBase:
        """Download a model's preprocessing; an update answers with its base model's."""
        asked = self.get_entity(_visible, id)
        model = asked.global_model
        if not model.preprocessing_file:
            raise NotFound(f"Model '{asked.pk}' has no preprocessing model defined.")
        return send(
            request,
            Download(
                filename=f"model-{asked.pk}-proprecessing.pt",
                tag=model.preprocessing_sha256,
                open=lambda: outgoing.open_preprocessing(model),
                stored_name=str(model.preprocessing_file),
                size=model.preprocessing_size,
            ),
        )

    @decorators.permission_classes([IsAuthenticated, OwnsModel])
    def upload_preprocessing(self, request: AuthenticatedRequest, id: str) -> Response:
        """Give a model its preprocessing, in place of any other.

        It is code, also where the model is weights alone: then only clients use it.
        """
        model = self.get_entity(models.GlobalModel, id)
        uploads.replace_preprocessing(model, get_file(request, "model_preprocessing_file"))
        return Response({"detail": "Proprocessing Model Upload Accepted"}, status.HTTP_202_ACCEPTED)

    @decorators.permission_classes([IsAuthenticated, OwnsModel])
    def upload_serving(self, request: AuthenticatedRequest, id: str) -> Response:
        """Give weights alone the code to predict with, in place of any other.

        A TorchScript archive or a saved module, of which the model's weights are a state. The
        server alone uses it: nobody downloads it.
        """
        model = self.get_entity(models.GlobalModel, id)
        uploads.replace_serving(model, get_file(request, "serving_file"))
        return Response({"detail": "Serving Module Upload Accepted"}, status.HTTP_202_ACCEPTED)


def _visible() -> ModelQuerySet:
    return models.Model.objects.visible()


def _tensors(model: models.Model, wanted: dict[str, str]) -> Download:
    training = model.find_training() or models.Training()
    part = training.typed_options.exchange.part if wanted["part"] else WHOLE
    return Download(
        filename=f"model-{model.pk}.safetensors",
        tag=".".join([outgoing.model_tag(model), *filter(None, wanted.values())]),
        open=lambda: outgoing.open_tensors(model, part, wanted["dtype"]),
    )


def _create_mean(
    request: AuthenticatedRequest, body: dict[str, Any], fields: dict[str, Any]
) -> models.Model:
    del fields["kind"]
    return uploads.create_mean_model(members=read_members(request.user, body), **fields)


def _create_from_files(
    request: AuthenticatedRequest,
    body: dict[str, Any],  # noqa: ARG001 (a sibling of the above)
    fields: dict[str, Any],
) -> models.Model:
    return uploads.create_model(
        file=get_file(request, "model_file"),
        preprocessing=find_file(request, "model_preprocessing_file"),
        **fields,
    )


def _running_training(model: models.Model) -> models.Training:
    training = model.find_training()
    if training is None:
        raise NotFound(f"Model with ID {model.pk} does not have a training process running")
    return training
