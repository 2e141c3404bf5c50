"""Whatever the API's own description lets clients send is answered as it says, and never by a 500.

Schemathesis makes requests of the served document: valid ones, ones at the limits of its schemas
and ones beyond. Each is sent as it came, and again about what exists, by an actor and by a
participant. They are the same every time; `--hypothesis-profile thorough` makes many more, and goes
through every limit of every field: some ten minutes.
"""

import io
from types import SimpleNamespace

import pytest
import schemathesis
import torch
from django.contrib.auth.models import Group
from django.db import transaction
from django.test.client import ClientHandler
from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import (
    CoveragePhaseConfig,
    GenerationConfig,
    PhasesConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.generation.meta import TestPhase
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.specs.openapi import checks

from fl_server_core.models import Model
from fl_server_core.models.model import clone_model
from tests.api.conftest import as_user, end, make_module, saved
from tests.api.serving import _served_here, runners  # noqa: F401 (fixtures)
from tests.api.tus import KIND, begin, sent
from tests.factories import NotificationFactory, TrainingFactory, UserFactory

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
THOROUGH = settings.get_current_profile_name() == "thorough"
AT_RANDOM = 50 if THOROUGH else 3  # for each endpoint
GENERATION = GenerationConfig(deterministic=True, max_examples=AT_RANDOM)
PHASES = PhasesConfig(
    coverage=CoveragePhaseConfig(enabled=THOROUGH, unexpected_methods=set()),
)
schemathesis.serializer.alias(KIND, "application/octet-stream")
PROJECTS = ProjectsConfig(default=ProjectConfig(generation=GENERATION, phases=PHASES))


def serve(environ, start_response):
    """Answer as Django's own test client has it answered, within a test's transaction."""
    response = ClientHandler()(environ)
    start_response(f"{response.status_code} {response.reason_phrase}", [*response.items()])
    try:
        return [response.getvalue()]
    finally:
        end(response)
        environ["wsgi.input"].close()


schema = schemathesis.openapi.from_wsgi(
    "/api/schema/?format=json", serve, config=SchemathesisConfig(projects=PROJECTS)
)


@pytest.fixture
def world(db, settings):
    """Rows that an actor and a participant may name, by where a request would name them."""
    settings.FL_REGISTRATIONS = settings.FL_STEERINGS = settings.FL_ACTS = 10**9
    settings.FL_STATS_WAIT_SECONDS = 0
    actor, participant = UserFactory(), UserFactory()
    group = Group.objects.create(name="both")
    group.user_set.set([actor, participant])
    module, moment = saved(make_module()).read(), saved(torch.zeros(4)).read()

    form = {"name": "m", "description": "d", "input_shape": ["null", "3"]}
    form |= {"model_file": io.BytesIO(module), "model_preprocessing_file": io.BytesIO(module)}
    answer = as_user(actor).post("/api/models/", form, format="multipart")
    free = Model.objects.get(pk=answer.json()["model_id"])

    def make_training(**fields):
        model = clone_model(free)
        return TrainingFactory(actor=actor, model=model, participants=[participant], **fields)

    running = make_training()
    as_user(participant).post(f"/api/trainings/{running.pk}/start/")
    waiting, ended = make_training(), make_training(state="E", phase="update")
    swag = make_training(state="S", phase="swag", uncertainty_method="SWAG")
    for user in (actor, participant):
        message = NotificationFactory(receiver=user, training=running, type="TRAINING_FINISHED")
    upload, whole = begin(as_user(actor), 1000), sent(as_user(actor), module)
    return SimpleNamespace(
        callers=[{"Authorization": f"Token {u.auth_token.key}"} for u in (actor, participant)],
        paths={
            "users": actor,
            "groups": group,
            "models": running.model,
            "models swag": swag.model,
            "trainings": running,
            "trainings start": waiting,
            "trainings resume": ended,
            "notifications": message,
            "uploads": upload,
        },
        fields={
            "model_id": str(free.pk),
            "models": [str(free.pk)],
            "clients": [str(UserFactory().pk)],
            "checkpoint": str(running.model.checkpoints.get().pk),
            "model_file": module,
            "model_preprocessing_file": module,
            "model_file_upload": str(whole.pk),
            "first_moment_file": moment,
            "second_moment_file": moment,
        },
    )


@schema.parametrize()
@settings(max_examples=AT_RANDOM, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_is_answered_as_described(case, world):
    assume(not has_many_items(case.body))
    ids, body = put(case.path_parameters, ids_for(case, world)), put(case.body, world.fields)
    names_something = (ids, body) != (case.path_parameters, case.body)
    if case.meta.phase.name == TestPhase.FUZZING or not names_something:
        send(case, world.callers[0])
    if names_something:
        case.path_parameters, case.body = ids, body
        for caller in world.callers:
            send(case, caller)


def test_so_is_what_follows_from_other_answers(world):
    class Conversation(schema.as_state_machine()):
        def setup(self):
            self.example = transaction.atomic()
            self.example.__enter__()

        def before_call(self, case):
            case.body = put(case.body, world.fields)

        def get_call_kwargs(self, case):
            return {"headers": world.callers[0]}

        def validate_response(self, response, case, **kwargs):
            case.validate_response(response, checks=CHECKS)

        def teardown(self):
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    run_state_machine_as_test(
        Conversation,
        settings=settings(
            derandomize=True,
            max_examples=AT_RANDOM,
            stateful_step_count=10,
            suppress_health_check=list(HealthCheck),
        ),
    )


def send(case, headers):
    with transaction.atomic():
        case.call_and_validate(headers=headers, checks=CHECKS)
        transaction.set_rollback(True)


def has_many_items(body):
    """Tell whether a list is at its limit of 10 000, which takes seconds to read as a form."""
    lists = body.values() if isinstance(body, dict) else ()
    return any(isinstance(items, list) and len(items) > 1000 for items in lists)


def ids_for(case, world):
    """Return the ids of what there is where the case goes to."""
    parts = case.operation.path.split("/")[2:-1]
    row = world.paths.get(f"{parts[0]} {parts[-1]}", world.paths.get(parts[0]))
    return {"id": str(row and row.pk), "checkpoint": world.fields["checkpoint"]}


def put(made_up, known):
    """Replace fields that are known, but for those whose type is wrong already."""
    if not isinstance(made_up, dict):
        return made_up
    return made_up | {
        name: known[name]
        for name in made_up.keys() & known
        if isinstance(made_up[name], (str, bytes, list))
    }
