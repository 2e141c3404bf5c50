"""How a model is served."""

import hashlib
import json
from dataclasses import dataclass

from django.db.models.fields.files import FieldFile

from fl_server_ai.uncertainty.registry import METHODS, Method
from fl_server_core.ensembles import find_members, find_moments
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Model, Training
from fl_server_core.models.model import ModelKind


@dataclass(frozen=True)
class Choice:
    """The method, and the files that it needs."""

    method: Method
    samples: int
    softmax: bool
    members: list[Model]
    moments: list[FieldFile]
    preprocessing: FieldFile
    input_shape: list[int | None] | None

    @property
    def key(self) -> str:
        """Names the content of all these files: what a runner has loaded."""
        names = [f"{member.global_model.sha256} {member.sha256}" for member in self.members]
        names += ["moments", *(str(moment.name) for moment in self.moments)]
        names += ["preprocessing", str(self.preprocessing.name)]
        names += [
            "serving",
            *(str(member.global_model.serving_file.name) for member in self.members),
        ]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def choose(model: Model) -> Choice:
    """Return how the model is served. Raises InvalidRequest where something is missing.

    An update is served as its base model's training says; so is a global model; one without
    a training has no uncertainty. A MEAN model is an ensemble in any case.
    """
    _check_callable(model)
    training = model.find_training()
    options = (training or Training()).typed_options.uncertainty
    method = _method(model, training)
    members = find_members(model) if method.members else [model]
    for member in members:
        _check_callable(member)
    if any(not member.file for member in members):
        raise InvalidRequest(f"Model {model.pk} has no file.")
    return Choice(
        method=method,
        samples=options.N,
        softmax=options.softmax,
        members=members,
        moments=find_moments(model) if method.moments else [],
        preprocessing=model.global_model.preprocessing_file,
        input_shape=model.global_model.input_shape,
    )


def _check_callable(model: Model) -> None:
    described = model.global_model
    if described.weights_only and not described.serving_file:
        raise InvalidRequest(
            f"Model {model.pk} holds weights alone, without the code that would compute a "
            "prediction: download it and load it into the model that it belongs to, or give the "
            f"server that model, at /api/models/{described.pk}/serving/."
        )


def _method(model: Model, training: Training | None) -> Method:
    if model.kind == ModelKind.MEAN:
        return METHODS["ENSEMBLE"]
    return METHODS[training.uncertainty_method if training else "NONE"]
