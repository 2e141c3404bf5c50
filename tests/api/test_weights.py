"""A model that is weights alone, at every endpoint."""

import io

import pytest
import torch
from safetensors.torch import load as load_tensors

from fl_server_ai.aggregation import merging
from fl_server_core.models import Model, ModelStats, Training
from tests.api.conftest import as_user, body_of, files, make_module, saved, scripted, tensors
from tests.api.serving import (
    _served_here,  # noqa: F401 (a fixture)
    ask,
    post_model,
    refusal,
    runners,  # noqa: F401 (a fixture)
)
from tests.factories import UserFactory

URL = "/api/models/"


def state_dict(module):
    return saved(module.state_dict())


FORMATS = {"state_dict": state_dict, "safetensors": tensors}


@pytest.fixture(params=FORMATS)
def save(request):
    return FORMATS[request.param]


@pytest.fixture
def model(client, save):
    """Weights of zeros."""
    return post_model(client, save(make_module()), input_shape=["None", "3"])


def read(save, content):
    """What a participant does with the bytes that it gets of a model in this format."""
    if save is state_dict:
        return torch.load(io.BytesIO(content), weights_only=True)
    return load_tensors(content)


def download(client, save, path):
    response = client.get(path)
    assert response.status_code == 200, response.content
    return read(save, body_of(response))


def values(state):
    assert list(state) in (["weight", "bias"], ["bias", "weight"])
    return torch.cat([state["weight"][0], state["bias"]]).tolist()


def test_weights_are_a_model_that_knows_that_it_has_no_code(client, save, model):
    assert model.weights_only
    assert not post_model(client, saved(make_module())).weights_only
    response = client.get(f"{URL}{model.pk}/")
    assert response["Content-Disposition"] == f'filename="model-{model.pk}.pt"'
    assert values(read(save, body_of(response))) == [0.0] * 4


def test_it_is_listed_as_any_model(client, model):
    shown = next(row for row in client.get(URL).json() if row["id"] == str(model.pk))
    with_code = post_model(client, saved(make_module()))
    other = next(row for row in client.get(URL).json() if row["id"] == str(with_code.pk))
    assert shown.keys() == other.keys()


def test_its_summary_is_that_of_its_tensors_and_nobody_is_asked_for_one(client, model, sent):
    metadata = client.get(f"{URL}{model.pk}/metadata/").json()
    told, rows = metadata["stats"], metadata["stats"].pop("summary_list")
    assert metadata["input_shape"] == [None, 3]
    assert told == {"total_params": 4, "trainable_params": 4, "total_param_bytes": 16}
    shapes = {row["var_name"]: (row["class_name"], row["shape"], row["num_params"]) for row in rows}
    assert shapes == {"weight": ("F32", [1, 3], 3), "bias": ("F32", [1], 1)}
    assert not ModelStats.objects.exists()
    assert not sent


def test_in_a_summary_tied_weights_count_once_and_counters_are_not_trained(client):
    tied = torch.ones(2)
    state = {"a": tied, "b": tied, "count": torch.tensor(3)}
    model = post_model(client, saved(state))
    told = client.get(f"{URL}{model.pk}/metadata/").json()["stats"]
    assert [row["same_as"] for row in told["summary_list"]] == [None, "a", None]
    assert (told["total_params"], told["trainable_params"], told["total_param_bytes"]) == (3, 2, 16)


def test_it_can_not_be_asked_for_predictions(client, model):
    [sentence] = refusal(ask(client, model, [[1.0, 2.0, 3.0]]))
    assert sentence.startswith(f"Model {model.pk} holds weights alone, without the code")


def test_a_mean_model_of_it_says_which_member_can_not_predict(client, model):
    able = post_model(client, saved(make_module()))
    body = {"type": "MEAN", "name": "m", "description": "d"}
    body["models"] = [str(able.pk), str(model.pk)]
    mean = Model.objects.get(pk=client.post(URL, body).json()["model_id"])
    [sentence] = refusal(ask(client, mean, [[1.0, 2.0, 3.0]]))
    assert sentence.startswith(f"Model {model.pk} holds weights alone")


def test_preprocessing_is_for_its_clients(client, model):
    file = saved(torch.nn.Sequential(torch.nn.Flatten()))
    path = f"{URL}{model.pk}/preprocessing/"
    put = client.post(path, {"model_preprocessing_file": file}, format="multipart")
    assert put.status_code == 202
    assert torch.load(io.BytesIO(body_of(client.get(path))), weights_only=False)


def test_weights_are_no_preprocessing(client, save, model):
    before = files()
    path = f"{URL}{model.pk}/preprocessing/"
    file = save(make_module())
    put = client.post(path, {"model_preprocessing_file": file}, format="multipart")
    sentence = "Invalid preprocessing file: Loaded torch object is not of expected type."
    assert (put.status_code, put.json()) == (400, [sentence])
    assert files() == before


# --- Trainings ---------------------------------------------------------------------------


def plan(model, participants=(), **fields):
    return {
        "model_id": str(model.pk),
        "clients": [str(user.pk) for user in participants],
        "target_num_updates": 2,
        "metric_names": ["accuracy"],
        "aggregation_method": "FedAvg",
    } | fields


def open_training(client, *args, **fields):
    response = client.post("/api/trainings/", plan(*args, **fields))
    assert response.status_code == 201, response.content
    training = Training.objects.get(pk=response.json()["training_id"])
    assert client.post(f"/api/trainings/{training.pk}/start/").status_code == 202
    return training


def update(user, path, file, sample_size=1):
    form = {"round": 0, "sample_size": sample_size, "model_file": file}
    response = as_user(user).post(path, form, format="multipart")
    assert response.status_code == 201, response.content


@pytest.fixture
def merged(client, model):
    """A training in its first test round: three updates, each of another format, are merged."""
    people = UserFactory.create_batch(3)
    training = open_training(client, model, people)
    path = f"{URL}{model.pk}/"
    update(people[0], path, scripted(make_module(0.1)), 1)
    update(people[1], path, saved(make_module(0.7).state_dict()), 3)
    update(people[2], path, tensors(make_module(0.3)), 4)
    merging.merge_round(training.pk, 0, 0)
    training.refresh_from_db()
    assert (training.state, training.model.round) == ("O", 1)
    return training


def test_a_merge_makes_the_next_version_in_the_same_format(client, save, merged):
    mean = (0.1 * 1 + 0.7 * 3 + 0.3 * 4) / 8
    found = download(client, save, f"{URL}{merged.model_id}/")
    assert values(found) == pytest.approx([mean] * 4, rel=1e-6)


def test_weights_and_code_are_merged_to_the_same_bits(client, save, merged):
    with_code = post_model(client, saved(make_module()))
    people = list(merged.participants.order_by("date_joined"))
    training = open_training(client, with_code, people)
    for user, value, size in zip(people, (0.1, 0.7, 0.3), (1, 3, 4), strict=True):
        update(user, f"{URL}{with_code.pk}/", tensors(make_module(value)), size)
    merging.merge_round(training.pk, 0, 0)
    response = client.get(f"{URL}{with_code.pk}/")
    module = torch.load(io.BytesIO(body_of(response)), weights_only=False)
    found = download(client, save, f"{URL}{merged.model_id}/")
    assert values(found) == values(module.state_dict())


def test_versions_are_downloaded_and_gone_back_to(client, save, merged):
    path = f"{URL}{merged.model_id}/checkpoints/"
    versions = [row["id"] for row in client.get(path).json()]
    found = [values(download(client, save, f"{path}{version}/")) for version in versions]
    assert found[0] == [0.0] * 4 != found[1]
    back = client.post(f"/api/trainings/{merged.pk}/rollback/", {"checkpoint": versions[0]})
    assert back.status_code == 202, back.content
    assert values(download(client, save, f"{URL}{merged.model_id}/")) == [0.0] * 4


def test_metrics_are_reported_on_it(client, merged):
    form = {"metric_names": ["accuracy"], "metric_values": ["0.5"]}
    [user, *_] = merged.participants.all()
    path = f"{URL}{merged.model_id}/metrics/"
    assert as_user(user).post(path, form, format="multipart").status_code == 201
    assert [row["value_float"] for row in client.get(path).json()] == [0.5]


def test_a_daisy_chain_hands_updates_out_in_the_models_format(client, save, model):
    people = UserFactory.create_batch(2)
    options = {"daisy_chain_period": 2}
    open_training(client, model, people, aggregation_method="FedDC", options=options)
    update(people[0], f"{URL}{model.pk}/", saved(make_module(2.0)))
    local = Model.objects.get(owner=people[0])
    found = download(as_user(people[1]), save, f"{URL}{local.pk}/")
    assert values(found) == [2.0] * 4
    [sentence] = refusal(ask(client, local, [[1.0, 2.0, 3.0]]))
    assert sentence.startswith(f"Model {local.pk} holds weights alone")


@pytest.mark.parametrize("method", ["MC_DROPOUT", "ENSEMBLE"])
def test_methods_that_only_predictions_need_change_nothing(client, model, method):
    open_training(client, model, [UserFactory()], uncertainty_method=method)
    [sentence] = refusal(ask(client, model, [[1.0, 2.0, 3.0]]))
    assert sentence.startswith(f"Model {model.pk} holds weights alone")


@pytest.fixture
def swag(client, model):
    """A function: a training of one participant in its SWAG round, whose moments these make."""

    def open_swag(by):
        user, options = UserFactory(), {"uncertainty": {"swag": by}}
        fields = {"uncertainty_method": "SWAG", "options": options}
        training = open_training(client, model, [user], **fields)
        update(user, f"{URL}{model.pk}/", saved(make_module(0.5)))
        merging.merge_round(training.pk, 0, 0)
        training.refresh_from_db()
        return training, user

    return open_swag


def give_moments(user, model, file, square):
    form = {"round": 1, "sample_size": 1, "first_moment_file": file, "second_moment_file": square}
    return as_user(user).post(f"{URL}{model.pk}/swag/", form, format="multipart")


def test_its_moments_are_given_by_name(swag, model):
    training, user = swag("clients")
    assert training.state == "S"
    flat = saved(torch.ones(4)), saved(torch.ones(4))
    [sentence] = refusal(give_moments(user, model, *flat))
    assert "send them by name" in sentence
    named = tensors(make_module(0.5)), saved(make_module(0.25).state_dict())
    assert give_moments(user, model, *named).status_code == 201
    merging.merge_round(training.pk, 1, 0)
    model.refresh_from_db()
    with model.swag_first_moment.open("rb") as file:
        assert values(load_tensors(file.read())) == [0.5] * 4


def test_its_moments_are_made_by_the_server(swag, model):
    training, _ = swag("server")
    merging.merge_round(training.pk, 1, 0)
    model.refresh_from_db()
    with model.swag_second_moment.open("rb") as file:
        assert values(load_tensors(file.read())) == [0.25] * 4


def test_whole_numbers_alone_are_not_trained(client, save):
    counts = torch.nn.Module()
    counts.register_buffer("count", torch.arange(3))
    model = post_model(client, save(counts))
    sentence = f"Model {model.pk} has no parameter that could be trained."
    assert refusal(client.post("/api/trainings/", plan(model))) == [sentence]


def test_a_second_training_gets_a_copy_that_is_weights_alone_too(client, model, merged):
    response = client.post("/api/trainings/", plan(model))
    copy = Training.objects.get(pk=response.json()["training_id"]).model
    assert (copy.pk != model.pk, copy.weights_only) == (True, True)


def test_an_update_of_other_names_is_refused(client, model):
    user = UserFactory()
    open_training(client, model, [user])
    form = {"round": 0, "sample_size": 1, "model_file": saved({"other": torch.ones(1)})}
    [sentence] = refusal(as_user(user).post(f"{URL}{model.pk}/", form, format="multipart"))
    assert "lacks tensors" in sentence


def test_it_is_removed_with_its_file(client, model, stranger):
    assert stranger.get(f"{URL}{model.pk}/").status_code == 403
    assert client.delete(f"{URL}{model.pk}/").status_code == 200
    assert not Model.objects.exists()
