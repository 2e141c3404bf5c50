"""The summary of a model's layers in its metadata."""

from datetime import timedelta

import pytest
import torch
from django.utils import timezone

from fl_server_ai import tasks
from fl_server_ai.inference.stats import AT_ONCE
from fl_server_core.models import ModelStats
from tests.api.conftest import as_user, make_module, saved, scripted
from tests.api.serving import (
    _served_here,  # noqa: F401 (a fixture)
    post_model,
    runners,  # noqa: F401 (a fixture)
)
from tests.factories import LocalModelFactory, UserFactory

SHAPE = ["None", "3"]


@pytest.fixture(autouse=True)
def _at_once(settings):
    settings.FL_STATS_WAIT_SECONDS = 0


@pytest.fixture
def stats(client, sent, django_capture_on_commit_callbacks):
    """Return a model's stats after whoever was asked for them has made them."""

    def call(model, *, work=True):
        url = f"/api/models/{model.pk}/metadata/"
        with django_capture_on_commit_callbacks(execute=True):
            client.get(url)
        asked = [args for task, *args in sent if task == "summarise"]
        sent.clear()
        for args in asked if work else ():
            tasks.summarise(*args)
        return asked, client.get(url).json()["stats"]

    return call


@pytest.mark.parametrize("make", [saved, scripted])
def test_stats_are_torchinfos(client, stats, make):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    _, told = stats(post_model(client, make(module), input_shape=SHAPE))
    assert told.keys() == {
        "input_size",
        "total_input",
        "total_mult_adds",
        "total_output_bytes",
        "total_param_bytes",
        "total_params",
        "trainable_params",
        "summary_list",
    }
    assert (told["total_params"], told["trainable_params"]) == (26, 26)
    assert told["input_size"] == [[1, 3]]
    assert [layer["var_name"] for layer in told["summary_list"]][1:] == ["0", "1"]
    assert len(told["summary_list"][1]) == 17
    assert "layer_id" in told["summary_list"][1]


def test_stats_are_made_once(client, stats):
    model = post_model(client, saved(make_module()), input_shape=SHAPE)
    asked, told = stats(model)
    assert (len(asked), told["total_params"]) == (1, 4)
    assert stats(model) == ([], told)
    clone = post_model(client, saved(make_module()), input_shape=SHAPE)
    assert stats(clone) == ([], told)


def test_an_update_shows_its_base_models(client, user, stats):
    model = post_model(client, saved(make_module()), input_shape=SHAPE)
    _, told = stats(LocalModelFactory(owner=user, base_model=model))
    assert told["total_params"] == 4


def test_without_a_shape_there_are_none(client, stats):
    assert stats(post_model(client, saved(make_module()))) == ([], None)


def test_a_model_that_does_not_take_the_shape_has_none_and_is_not_tried_again(client, stats):
    model = post_model(client, saved(make_module()), input_shape=["None", "5"])
    asked, told = stats(model)
    assert (len(asked), told) == (1, None)
    assert stats(model) == ([], None)


def test_what_nobody_made_is_asked_for_again_after_a_while(client, stats):
    model = post_model(client, saved(make_module()), input_shape=SHAPE)
    assert len(stats(model, work=False)[0]) == 1
    assert stats(model, work=False) == ([], None)
    ModelStats.objects.update(asked_at=timezone.now() - timedelta(minutes=2))
    assert len(stats(model)[0]) == 1


def test_one_owners_models_wait_for_a_while_where_many_are_in_line(client, stats):
    shapes = [["None", str(size)] for size in range(1, AT_ONCE + 2)]
    models = [
        post_model(client, saved(make_module(n)), input_shape=s) for n, s in enumerate(shapes)
    ]
    asked = [stats(model, work=False)[0] for model in models]
    assert [len(args) for args in asked] == AT_ONCE * [1] + [0]
    other = UserFactory()
    model = post_model(as_user(other), saved(make_module(0.5)), input_shape=SHAPE)
    as_user(other).get(f"/api/models/{model.pk}/metadata/")
    assert ModelStats.objects.filter(sha256=model.sha256).exists()
    ModelStats.objects.update(asked_at=timezone.now() - timedelta(minutes=2))
    assert len(stats(models[-1])[0]) == 1


def test_only_the_summary_that_was_asked_for_is_made(client, stats):
    first = post_model(client, saved(make_module()), input_shape=SHAPE)
    second = post_model(client, saved(make_module()), input_shape=["2", "3"])
    stats(first, work=False)
    stats(second)
    assert list(ModelStats.objects.exclude(computed_at=None).values_list("input_shape")) == [
        ("[2, 3]",)
    ]


def test_stats_of_files_that_are_gone_are_forgotten(client, stats):
    model = post_model(client, saved(make_module()), input_shape=SHAPE)
    stats(model)
    tasks.remove_orphaned_files()
    assert ModelStats.objects.count() == 1
    model.delete()
    tasks.remove_orphaned_files()
    assert ModelStats.objects.count() == 0
