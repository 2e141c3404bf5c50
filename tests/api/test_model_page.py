"""`/models/` and `/models/<id>/`: who sees them, and that they say what the API says."""

import json
import re
from html import unescape

import pytest
import torch
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from fl_server_ai.inference import client as serving
from fl_server_api import waiting
from fl_server_api.content_security import PAGE
from fl_server_api.pages import trial
from fl_server_core.models import Checkpoint, Model, ModelStats
from fl_server_core.models.model import ModelKind
from tests.api.conftest import make_module, saved, tensors
from tests.api.serving import (
    _served_here,  # noqa: F401 (a fixture)
    post_model,
    runners,  # noqa: F401 (a fixture)
)
from tests.api.test_pages import Page
from tests.factories import LocalModelFactory, ModelFactory, TrainingFactory, UserFactory

HOSTILE = "</h1><script>alert(1)</script>"


@pytest.fixture
def browse():
    """Return a browser in which this user is signed in."""

    def call(user):
        browser = Client(headers={"Accept": "text/html"})
        browser.force_login(user)
        return browser

    return call


@pytest.fixture
def browser(browse, user):
    return browse(user)


def shown(answer, code=200):
    """Return a page's text, without tags and with single spaces."""
    assert answer.status_code == code, answer.content
    text = re.sub(r"<[^>]*>", " ", answer.content.decode())
    return unescape(re.sub(r"\s+", " ", text))


def path(model):
    return f"/models/{model.pk}/"


# --- Who sees it -------------------------------------------------------------------------


def test_it_says_what_the_model_is(browser, model, user):
    Model.objects.update(input_shape=[None, 3], description="Of zeros.\n\nNothing else.")
    page = browser.get(path(model))
    text = shown(page)
    for told in (
        "zeros",
        "Of zeros.",
        user.username,
        "any \N{MULTIPLICATION SIGN} 3",
        "code and weights",
        model.sha256,
    ):
        assert told in text
    assert f'href="/api/models/{model.pk}/"' in page.content.decode()


def test_strangers_see_what_is_seen_where_there_is_none(browse, model):
    stranger = browse(UserFactory())
    unknown = stranger.get("/models/5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4/")
    assert "Not found" in shown(unknown, 404)
    assert shown(stranger.get(path(model)), 404) == shown(unknown, 404)
    assert model.name not in shown(stranger.get("/models/"))


def test_whoever_is_not_signed_in_is_asked_to(client, model):
    for asked in ("/models/", path(model), f"/trainings/{model.pk}/record/"):
        answer = Client().get(asked)
        assert (answer.status_code, answer["Location"]) == (302, f"/api-auth/login/?next={asked}")
    answer = Client().post(path(model), {"model_input": "[[1]]"})
    assert answer.status_code == 302


@pytest.mark.parametrize("id", ["x", "%00"])
def test_what_is_no_id_is_not_found_either(browser, id):
    assert "Not found" in shown(browser.get(f"/models/{id}/"), 404)


def test_participants_see_the_model_and_no_foreign_updates_file(browse, training, participant):
    assert "zeros" in shown(browse(participant).get(path(training.model)))
    update = LocalModelFactory(base_model=training.model, owner=training.actor, file="u")
    content = browse(participant).get(path(update)).content.decode()
    assert "An update to zeros" in content
    assert f"/api/models/{update.pk}/" not in content
    assert "Try a prediction" not in content
    content = browse(training.actor).get(path(update)).content.decode()
    assert f'href="/api/models/{update.pk}/"' in content


def test_names_are_text(browser, model):
    Model.objects.update(name=HOSTILE, description=HOSTILE, sha256=HOSTILE[:64])
    Checkpoint.objects.create(
        model=model, round=1, attempt=0, sha256="a", size=1, metric_means={HOSTILE: 1.0}
    )
    for page in (browser.get(path(model)), browser.get("/models/")):
        assert page.status_code == 200
        assert "<script>" not in page.content.decode()


@pytest.mark.parametrize("page", ["/models/", "/models/{}/", "/trainings/{}/record/", "/models/x/"])
def test_browsers_are_told_to_run_nothing_but_the_servers_files(browser, started, page):
    row = started if "trainings" in page else started.model
    answer = browser.get(page.format(row.pk))
    assert answer["Content-Security-Policy"] == PAGE
    assert Page(answer.content.decode()).stopped == []
    assert "style=" not in answer.content.decode()


def test_the_list_is_the_apis(browser, client, model, training):
    ModelFactory()
    ids = {row["id"] for row in client.get("/api/models/").json()}
    content = browser.get("/models/").content.decode()
    assert set(re.findall(r'href="/models/([^/"]+)/"', content)) == ids == {str(model.pk)}


def test_a_long_list_has_pages(browser, user):
    for _ in range(51):
        ModelFactory(owner=user)
    assert "1 to 50 of 51" in shown(browser.get("/models/"))
    second = shown(browser.get("/models/?page=2"))
    assert "51 to 51 of 51" in second
    assert "model" in second


def test_pages_take_as_many_queries_with_many_rows(browser, user, model, training):
    def count(page):
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(page).status_code == 200
        return len(queries)

    def grow(start, many):
        for number in range(start, start + many):
            Checkpoint.objects.create(
                model=model, round=number, attempt=0, sha256="a", size=1, metric_means={"a": 1}
            )
            LocalModelFactory(base_model=model, owner=user, round=number)
            mean.members.add(ModelFactory(owner=user))
            TrainingFactory(model__owner=user, actor=user)

    mean = ModelFactory(owner=user, kind=ModelKind.MEAN)
    grow(1, 1)
    pages = ["/models/", path(model), path(mean)]
    few = [count(page) for page in pages]
    grow(2, 10)
    assert [count(page) for page in pages] == few
    assert max(few) <= 14


# --- What is in it -----------------------------------------------------------------------


def test_layers_come_once_they_are_known(browser, client):
    model = post_model(client, saved(make_module()), input_shape=["None", "3"])
    first = browser.get(path(model))
    assert "They are being found out." in shown(first)
    assert "data-waits" in first.content.decode()
    layer = {"var_name": "fc", "class_name": HOSTILE, "output_size": [1, 4], "num_params": 1234}
    stats = {"total_params": 1234, "trainable_params": 34, "summary_list": [layer] * 101}
    ModelStats.objects.update(stats=stats, computed_at=ModelStats.objects.get().asked_at)
    page = browser.get(path(model))
    assert "<script>" not in page.content.decode()
    text = shown(page)
    assert "1 234 parameters, of which 34 are trained" in text
    assert "1 \N{MULTIPLICATION SIGN} 4" in text
    assert "And 1 more." in text


@pytest.mark.parametrize(
    "stats",
    [
        {},
        {"summary_list": 3, "total_params": []},
        {"summary_list": [1, {}, {"depth": "x", "output_size": {}, "num_params": True}]},
        {"summary_list": [{"depth": 1e9, "var_name": [[]], "output_size": [[None]] * 999}]},
    ],
)
def test_a_summary_may_hold_anything(browser, client, stats):
    model = post_model(client, saved(make_module()), input_shape=["None", "3"])
    browser.get(path(model))
    ModelStats.objects.update(stats=stats, computed_at=ModelStats.objects.get().asked_at)
    assert browser.get(path(model)).status_code == 200


def test_what_has_no_layers_says_why(browser, client, model, user):
    assert "Its input shape isn't known" in shown(browser.get(path(model)))
    mean = ModelFactory(owner=user, kind=ModelKind.MEAN)
    assert "It has no file of its own" in shown(browser.get(path(mean)))
    model = post_model(client, saved(make_module()), input_shape=["None", "3"])
    browser.get(path(model))
    ModelStats.objects.update(computed_at=ModelStats.objects.get().asked_at)
    assert "It can't be summarised" in shown(browser.get(path(model)))


def test_weights_alone_list_their_tensors_and_say_what_they_lack(browser, client):
    model = post_model(client, tensors(make_module()))
    text = shown(browser.get(path(model)))
    assert "Tensors 4 parameters" in text
    assert "weight F32 1 \N{MULTIPLICATION SIGN} 3 3" in text
    assert "weights alone" in text
    assert f"POST /api/models/{model.pk}/serving/" in text
    default_storage.delete(model.file.name)
    assert "Tensors" not in shown(browser.get(path(model)))


def test_versions_are_listed_newest_first(browser, started):
    Checkpoint.objects.create(
        model=started.model, round=1, attempt=2, sha256="cd" * 32, size=9, metric_means={"f1": 0.25}
    )
    content = browser.get(path(started.model)).content.decode()
    first = started.model.checkpoints.get(round=0)
    assert f"/api/models/{started.model.pk}/checkpoints/{first.pk}/" in content
    text = shown(browser.get(path(started.model)))
    assert text.index("1 (attempt 2)") < text.index(f"{first.sha256[:12]}…")
    assert "0.25" in text
    assert "not kept" in text
    assert f'href="/trainings/{started.pk}/"' in content
    assert f'href="/trainings/{started.pk}/record/"' in content


# --- Predictions -------------------------------------------------------------------------


@pytest.fixture
def tell(monkeypatch, tmp_path):
    """Have workers answer with this; return of which model and in which form they are asked."""

    def call(answer):
        asked = []

        def predict(model_id, source, *, form, **kwargs):
            asked.append((model_id, form))
            path = tmp_path / "answer"
            path.write_text(json.dumps(answer))
            return path.open("rb")

        monkeypatch.setattr(serving, "predict", predict)
        return asked

    return call


def post(browser, model, value="[[1, 2, 3]]"):
    return browser.post(path(model), {"model_input": value})


def classifier():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Softmax(1))
    torch.nn.init.constant_(module[0].weight, 0.25)
    module[0].bias.data = torch.arange(4).float()
    return module


def test_a_model_predicts_with_its_uncertainty(browser, client, user):
    model = post_model(client, saved(classifier()), input_shape=["None", "3"])
    assert "Class 3" in shown(post(browser, model))
    TrainingFactory(model=model, actor=user, uncertainty_method="MC_DROPOUT")
    page = post(browser, model)
    assert page.content.count(b'class="bar"') == 4 + 3
    assert page.content.count(b'class="whisker"') == 4 * 3
    text = shown(page)
    assert re.search(r" 3 \d+\.\d % ± \d+\.\d", text)
    assert re.search(r"mutual information how much the models disagree \d\.\d+ of 1\.386", text)


def test_a_file_predicts_as_well(browser, client):
    model = post_model(client, saved(classifier()), input_shape=["None", "3"])
    file = SimpleUploadedFile("x.pt", saved(torch.ones(2, 3)).read())
    text = shown(browser.post(path(model), {"model_input": file}))
    assert "Input 1 Class 3 Input 2 Class 3" in text


def test_other_numbers_are_intervals(browser, model, tell):
    tell(
        {"inference": [[2.5, -1.0], [None, 1e308]], "uncertainty": {"std": [[0.5, 0], [0, 1e308]]}}
    )
    page = post(browser, model)
    assert page.content.count(b'class="dot"') == 2
    assert page.content.count(b'class="zero"') == 2
    text = shown(page)
    for told in ("output ", "2.5 ± 0.5", "-1 ± 0", "not a number", "1e+308 ± 1e+308"):
        assert told in text


def test_a_number_for_each_input_is_an_interval(browser, model, tell):
    tell({"inference": [7.0], "uncertainty": {"std": [0.0]}})
    assert 'x1="50.00"' in post(browser, model).content.decode()


def test_of_many_classes_the_likeliest_are_drawn(browser, model, tell):
    share = {name: [0.1] * 12 for name in ("predictive_entropy", "expected_entropy", "mutual_info")}
    values = [[0.0] * 30 + [0.75, 0.25]] * 12
    tell({"inference": values, "uncertainty": {"std": values} | share})
    text = shown(post(browser, model))
    assert text.index(" 30 75.0 %") < text.index(" 31 25.0 %")
    assert "And 20 more, less likely." in text
    assert "And 2 more inputs." in text


@pytest.mark.parametrize("value", [[[[0.5]]], 3.5, [], [[]], [[1, 2], [3]], True])
def test_what_has_no_drawing_is_json(browser, model, tell, value):
    tell({"inference": value, "uncertainty": {"std": [[0.5]]}})
    page = post(browser, model)
    assert f'"inference": {json.dumps(value[:1] if value == [] else value)[:1]}' in shown(page)


def test_an_answer_that_is_too_long_is_left_to_the_api(browser, model, tell, monkeypatch):
    monkeypatch.setattr(trial, "LONGEST", 10)
    tell({"inference": [1], "uncertainty": {}})
    assert "the API gives it" in shown(post(browser, model))


def test_refusals_are_the_apis(browser, client):
    model = post_model(client, saved(classifier()), input_shape=["None", "3"])
    refused = client.post(
        "/api/inference/", {"model_id": str(model.pk), "model_input": [[1, 2]]}, format="json"
    ).json()
    text = shown(post(browser, model, "[[1, 2]]"), 400)
    assert all(sentence in text for sentence in refused)
    nothing = browser.post(path(model), {"x": ""})
    assert "No uploaded file 'model_input' found." in shown(nothing, 400)


def test_strangers_predict_nothing_here(browse, model, training, participant, tell):
    tell({"inference": [1], "uncertainty": {}})
    assert post(browse(UserFactory()), model).status_code == 404
    update = LocalModelFactory(base_model=model, owner=training.actor)
    assert post(browse(participant), update).status_code == 403
    assert "Class 1" in shown(post(browse(participant), model))


def test_the_path_says_which_model_predicts(browser, user, model, tell):
    asked = tell({"inference": [1], "uncertainty": {}})
    form = {"model_id": str(ModelFactory(owner=user).pk), "return_format": "binary"}
    assert "Class 1" in shown(browser.post(path(model), form | {"model_input": "[[1]]"}))
    assert asked == [(model.pk, "json")]


def test_a_form_from_elsewhere_predicts_nothing(user, model, tell):
    tell({"inference": [1], "uncertainty": {}})
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert "CSRF Failed" in shown(post(browser, model), 403)
    token = re.search(rb'csrfmiddlewaretoken" value="(\w+)', browser.get(path(model)).content)[1]
    form = {"model_input": "[[1]]", "csrfmiddlewaretoken": token.decode()}
    assert "Class 1" in shown(browser.post(path(model), form))


def test_predictions_wait_in_the_apis_places(browser, user, model, tell):
    tell({"inference": [1], "uncertainty": {}})
    places = waiting.PREDICTIONS
    with places.place(user.pk), places.place(user.pk), places.place(user.pk):
        answer = post(browser, model)
        assert "The server is busy; try again." in shown(answer, 503)
        assert answer["Retry-After"] == "1"


def test_inputs_may_be_as_large_as_the_apis(browser, model, settings):
    settings.FL_MAX_INFERENCE_BYTES = 1000
    answer = browser.post(path(model), {"model_input": "1" * 2000})
    assert answer.status_code == 413
    settings.FL_MAX_INFERENCE_BYTES = 1 << 20
    assert browser.post(path(model), {"model_input": "1" * 100_000}).status_code == 400
