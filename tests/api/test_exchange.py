"""A training that exchanges a part of its model, in fewer bits, or differences."""

import gzip

import pytest
import torch
from backports import zstd
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fl_server_ai.aggregation import merging
from fl_server_core import uploads
from fl_server_core.models import LocalModel, Model, Training
from tests.api.conftest import as_user, body_of, end, files, load, saved, upload
from tests.api.serving import post_model, refusal
from tests.factories import UserFactory

HEAD = {"tensors": {"include": ["1.*"]}}


def network(value=0.0):
    """Return a body `0` and a head `1`, all weights of this value, and a counting norm `2`."""
    layers = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2), torch.nn.BatchNorm1d(2)
    module = torch.nn.Sequential(*layers)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, value)
    return module


@pytest.fixture
def model(client):
    return post_model(client, saved(network()))


@pytest.fixture
def people(db):
    return UserFactory.create_batch(2)


def plan(model, people=(), exchange=None, **fields):
    return {
        "model_id": str(model.pk),
        "clients": [str(user.pk) for user in people],
        "target_num_updates": 3,
        "metric_names": ["accuracy"],
        "aggregation_method": "FedAvg",
        "options": {"exchange": exchange or {}},
    } | fields


@pytest.fixture
def opened(client, model, people):
    """A function: a training of the model that exchanges so, in its first round."""

    def open_training(exchange, **fields):
        response = client.post("/api/trainings/", plan(model, people, exchange, **fields))
        assert response.status_code == 201, response.content
        training = Training.objects.get(pk=response.json()["training_id"])
        assert client.post(f"/api/trainings/{training.pk}/start/").status_code == 202
        return training

    return open_training


def hand_in(user, model, state, **fields):
    form = {"round": 0, "sample_size": 1, "model_file": upload(save_tensors(state))} | fields
    return as_user(user).post(f"/api/models/{model.pk}/", form, format="multipart")


def fetch(client, model, **query):
    response = client.get(f"/api/models/{model.pk}/", query)
    assert response.status_code == 200, response.content
    return response["ETag"], load_tensors(body_of(response))


def merged_state(client, training):
    merging.merge_round(training.pk, training.round, training.attempt)
    return load(client.get(f"/api/models/{training.model_id}/")).state_dict()


def values_of(state):
    return {name: set(values.reshape(-1).tolist()) for name, values in state.items()}


def test_a_head_is_trained_and_the_rest_stays(client, model, people, opened):
    training = opened(HEAD)
    assert hand_in(people[0], model, network(1.0).state_dict()).status_code == 201  # whole, cut
    head = {
        f"1.{name}": torch.full_like(value, 3.0)
        for name, value in network()[1].state_dict().items()
    }
    assert hand_in(people[1], model, head).status_code == 201
    assert set(LocalModel.objects.values_list("size", flat=True)).pop() < 300
    found = values_of(merged_state(client, training))
    assert (found["1.weight"], found["1.bias"]) == ({2.0}, {2.0})
    assert (found["0.weight"], found["2.running_var"]) == ({0.0}, {1.0})


def test_all_but_the_norms_is_trained(client, model, people, opened):
    training = opened({"tensors": {"exclude": ["2.*"]}})
    for user in people:
        assert hand_in(user, model, network(1.0).state_dict()).status_code == 201
    found = values_of(merged_state(client, training))
    assert (found["0.weight"], found["1.bias"], found["2.weight"]) == ({1.0}, {1.0}, {0.0})


@pytest.mark.parametrize("method", ["FedAdam", "FedMedian"])
def test_other_methods_train_a_part_as_well(client, model, people, opened, method):
    training = opened(HEAD, aggregation_method=method)
    for number in range(2):
        for user in people:
            etag, part = fetch(as_user(user), model, part="exchanged")
            new = {name: values + 1 for name, values in part.items()}
            assert hand_in(user, model, new, round=number, base=etag).status_code == 201
        found = values_of(merged_state(client, training))
        assert 0.0 not in found["1.weight"]
        assert found["0.weight"] == {0.0}
        for user in people:
            form = {"metric_names": ["accuracy"], "metric_values": [0.5]}
            path = f"/api/models/{model.pk}/metrics/"
            assert as_user(user).post(path, form, format="multipart").status_code == 201
        training.refresh_from_db()


def test_the_part_alone_is_downloaded(client, model, people, opened):
    assert len(fetch(client, model, part="exchanged")[1]) == len(network().state_dict())
    opened(HEAD)
    etag, part = fetch(as_user(people[0]), model, part="exchanged")
    assert set(part) == {"1.weight", "1.bias"}
    assert etag == f'"{model.sha256}.exchanged"'
    again = client.get(f"/api/models/{model.pk}/?part=exchanged", headers={"If-None-Match": etag})
    assert again.status_code == 304
    piece = client.get(f"/api/models/{model.pk}/?part=exchanged", headers={"Range": "bytes=0-7"})
    assert (piece.status_code, len(body_of(piece))) == (206, 8)


def test_an_update_is_downloaded_as_what_was_exchanged_or_as_a_whole_model(
    client, model, people, opened
):
    opened(HEAD)
    hand_in(people[0], model, network(1.0).state_dict())
    update = LocalModel.objects.get()
    assert set(fetch(client, update, part="exchanged")[1]) == {"1.weight", "1.bias"}
    whole = load(client.get(f"/api/models/{update.pk}/")).state_dict()
    assert (values_of(whole)["1.weight"], values_of(whole)["0.weight"]) == ({1.0}, {0.0})


def test_of_tied_weights_either_name_chooses_the_tensor(client, people, opened):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2))
    module[1].weight = module[0].weight
    tied = post_model(client, saved(module))
    body = plan(tied, people, {"tensors": {"include": ["1.weight"]}})
    training = Training.objects.get(pk=client.post("/api/trainings/", body).json()["training_id"])
    client.post(f"/api/trainings/{training.pk}/start/")
    assert hand_in(people[0], tied, {"1.weight": torch.ones(2, 2)}).status_code == 201
    for model in (tied, LocalModel.objects.get()):
        assert list(fetch(client, model, part="exchanged")[1]) == ["0.weight"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_in_fewer_bits_to_and_fro(client, model, people, opened, dtype):
    training = opened({"dtype": dtype})
    for user, value in zip(people, (1.0, 3.0), strict=True):
        etag, state = fetch(as_user(user), model, dtype=dtype)
        assert state["0.weight"].dtype == getattr(torch, dtype)
        assert etag == f'"{model.sha256}.{dtype}"'
        for name, values in state.items():
            if values.dtype == getattr(torch, dtype) and dtype != "int8":
                state[name] = torch.full_like(values, value)
            elif values.dtype == torch.int8:
                state[name] = torch.full_like(values, 127)
            elif name.endswith("_scale"):
                state[name] = torch.full_like(values, value / 127)
        assert hand_in(user, model, state).status_code == 201
    found = merged_state(client, training)
    assert found["0.weight"].dtype == torch.float32
    assert torch.allclose(found["0.weight"], torch.tensor(2.0), rtol=1e-6)


def test_fewer_bits_are_taken_only_where_the_training_says_so(model, people, opened):
    opened({})
    state = {name: values.half() for name, values in network().state_dict().items()}
    [sentence] = refusal(hand_in(people[0], model, state))
    assert "is F16 of shape" in sentence


def test_differences_are_added_to_the_version_that_they_were_made_from(
    client, model, people, opened
):
    training = opened(HEAD)
    etag, part = fetch(client, model, part="exchanged")
    step = {name: torch.full_like(values, 0.5) for name, values in part.items()}
    assert hand_in(people[0], model, step, encoding="delta", base=etag).status_code == 201
    few = {
        "1.weight.topk_indices": torch.tensor([1, 7]),
        "1.weight.topk_values": torch.tensor([1.5, 2.5]),
    }
    assert hand_in(people[1], model, few, encoding="topk", base=model.sha256).status_code == 201
    found = merged_state(client, training)
    assert found["1.weight"].reshape(-1).tolist() == [0.25, 1, *[0.25] * 5, 1.5]
    assert found["1.bias"].tolist() == [0.25] * 2
    [sentence] = refusal(hand_in(people[0], model, step, round=1, encoding="delta", base=etag))
    assert sentence.startswith(f"The update was made from version {model.sha256} of the model")


def test_an_update_made_before_a_rollback_is_told_apart(client, model, people, opened):
    training = opened({})
    for user in people:
        hand_in(user, model, network(1.0).state_dict())
    merged_state(client, training)
    etag, _ = fetch(client, model, part="exchanged")
    first = client.get(f"/api/models/{model.pk}/checkpoints/").json()[0]["id"]
    client.post(f"/api/trainings/{training.pk}/rollback/", {"checkpoint": first})
    assert hand_in(people[0], model, network().state_dict(), base=etag).status_code == 400
    assert hand_in(people[0], model, network().state_dict()).status_code == 201


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"encoding": "delta"}, {"base": ["Needed where encoding is delta."]}),
        ({"encoding": "topk"}, {"base": ["Needed where encoding is topk."]}),
        ({"encoding": "gzip"}, {"encoding": ["Must be one of: state, delta, topk."]}),
    ],
)
def test_an_encoding_that_makes_no_sense_is_refused(model, people, opened, fields, answer):
    opened({})
    before = files()
    response = hand_in(people[0], model, network().state_dict(), **fields)
    assert (response.status_code, response.json()) == (400, answer)
    assert files() == before


def test_a_bad_difference_leaves_nothing_behind(model, people, opened):
    opened({})
    before = files()
    form = {"encoding": "topk", "base": model.sha256}
    [sentence] = refusal(hand_in(people[0], model, {"nobody": torch.ones(1)}, **form))
    assert "'nobody', which the global model lacks" in sentence
    assert files() == before
    assert not LocalModel.objects.exists()


def test_a_daisy_chain_takes_no_differences(model, people, opened):
    options = {"daisy_chain_period": 2}
    opened({}, aggregation_method="FedDC", options=options)
    form = {"encoding": "delta", "base": model.sha256}
    [sentence] = refusal(hand_in(people[0], model, network().state_dict(), **form))
    assert sentence.startswith("In a daisy chain updates are whole")


def test_what_a_small_update_becomes_counts(model, people, opened, settings, monkeypatch):
    opened({})
    settings.FL_QUOTA_BYTES = 130
    form = {"encoding": "topk", "base": model.sha256}
    small = {"0.bias": torch.zeros(4)}
    assert len(save_tensors(small)) < 130 < 34 * 4
    monkeypatch.setattr(uploads, "decode_update", None)  # nothing is written before
    response = hand_in(people[0], model, small, **form)
    assert response.status_code == 507
    assert "You may store 130 bytes" in response.json()["detail"]


@pytest.mark.parametrize(
    ("exchange", "sentence"),
    [
        ({"tensors": {"include": ["lora_*"]}}, "The pattern 'lora_*' matches none"),
        ({"tensors": {"exclude": ["*"]}}, "None of the tensors that would be exchanged"),
        ({"tensors": {"include": []}}, "None of the tensors that would be exchanged"),
    ],
)
def test_patterns_that_make_no_sense_are_refused(client, model, exchange, sentence):
    [told] = refusal(client.post("/api/trainings/", plan(model, exchange=exchange)))
    assert told.startswith(f"Model {model.pk} can't be trained in part. {sentence}")
    assert not Training.objects.exists()


@pytest.mark.parametrize(
    "exchange",
    [
        {"dtype": "int4"},
        {"tensors": "1.*"},
        {"tensors": {"include": "1.*"}},
        {"tensors": {"include": ["*"] * 101}},
        {"tensor": {}},
    ],
)
def test_an_exchange_that_is_not_understood_is_refused(client, model, exchange):
    response = client.post("/api/trainings/", plan(model, exchange=exchange))
    assert response.status_code == 400
    assert "exchange" in response.json()["options"]


def test_swag_of_a_part_is_the_servers(client, model):
    asked = plan(model, exchange=HEAD, uncertainty_method="SWAG")
    [told] = refusal(client.post("/api/trainings/", asked))
    assert "have the server make them (uncertainty.swag)" in told
    asked["options"]["uncertainty"] = {"swag": "server"}
    assert client.post("/api/trainings/", asked).status_code == 201


@pytest.mark.parametrize("query", [{"part": "all"}, {"dtype": "float8"}])
def test_an_unknown_part_or_type_is_refused(client, model, query):
    response = client.get(f"/api/models/{model.pk}/", query)
    assert (response.status_code, list(response.json())) == (400, list(query))


def test_a_stranger_gets_no_part(model, stranger):
    assert stranger.get(f"/api/models/{model.pk}/?part=exchanged").status_code == 403


def test_the_type_may_be_a_parameter_of_what_is_accepted(client, model):
    accept = "application/octet-stream; dtype=float16; part=exchanged, */*"
    response = client.get(f"/api/models/{model.pk}/", headers={"Accept": accept})
    assert load_tensors(body_of(response))["0.weight"].dtype == torch.float16
    assert {"Accept", "Accept-Encoding"} <= set(response["Vary"].split(", "))


DECODE = {"gzip": gzip.decompress, "zstd": zstd.decompress}


@pytest.mark.parametrize(
    ("accepted", "name"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("deflate, *", ""),
        ("gzip; q=0.0, zstd; q=0", ""),
    ],
)
def test_tensors_are_compressed_where_that_is_accepted(client, model, accepted, name):
    url, headers = f"/api/models/{model.pk}/?part=exchanged", {"Accept-Encoding": accepted}
    response = client.get(url, headers=headers)
    assert response.get("Content-Encoding", "") == name
    content = body_of(response)
    plain = body_of(client.get(url))
    assert DECODE.get(name, bytes)(content) == plain
    assert response["ETag"] == f'"{model.sha256}.exchanged{name and "."}{name}"'
    head = client.head(url, headers=headers)
    assert head["Content-Length"] == str(len(content))
    piece = client.get(url, headers=headers | {"Range": "bytes=5-20"})
    assert (piece.status_code, body_of(piece)) == (206, content[5:21])


def test_a_stored_file_goes_as_it_is(client, model):
    response = client.get(f"/api/models/{model.pk}/", headers={"Accept-Encoding": "zstd, gzip"})
    end(response)
    assert "Content-Encoding" not in response


def test_names_that_clash_with_scales_are_told(client):
    model = post_model(
        client, upload(save_tensors({"w": torch.ones(2), "w.int8_scale": torch.ones(1)}))
    )
    [sentence] = refusal(client.get(f"/api/models/{model.pk}/?dtype=int8"))
    assert "rename that" in sentence
    response = client.get(f"/api/models/{model.pk}/?dtype=float16")
    assert response.status_code == 200
    end(response)
    assert Model.objects.count() == 1
