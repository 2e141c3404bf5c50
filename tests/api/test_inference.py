import base64
import io
import json
import pickle
from contextlib import ExitStack

import pytest
import torch
from django.core.files.storage import FileSystemStorage
from PIL import Image
from safetensors.torch import save as save_tensors

from fl_server_ai import tasks
from fl_server_ai.failures import NoCage, NoRunner, NoWorker
from fl_server_ai.inference import client as serving
from fl_server_ai.inference import worker
from fl_server_ai.inference.runner.pool import Runner
from fl_server_api import waiting
from tests.api.conftest import as_user, files, make_module, saved, scripted, upload
from tests.api.serving import (
    URL,
    _served_here,  # noqa: F401 (a fixture)
    ask,
    post_model,
    read,
    refusal,
    runners,  # noqa: F401 (a fixture)
    send,
)
from tests.factories import TrainingFactory, UserFactory
from tests.waiting import PATIENCE

ASK = serving.ask  # the tests' own stands in for it
NO_TENSOR = (
    "Model input could not be casted or interpreted as a PyTorch tensor object "
    "and no preprecessing is defined."
)


def classifier(classes=4):
    module = torch.nn.Sequential(
        torch.nn.Linear(3, classes), torch.nn.Dropout(0.5), torch.nn.Softmax(1)
    )
    torch.nn.init.constant_(module[0].weight, 0.25)
    module[0].bias.data = torch.arange(classes).float()
    return module


@pytest.fixture
def model(client):
    return post_model(client, saved(classifier()), input_shape=["None", "3"])


def encoded(content):
    return base64.b64encode(content).decode()


def saved_bytes(obj):
    return saved(obj).read()


def png(mode="RGB", size=(1, 3), color=255, kind="PNG"):
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind)
    return file.getvalue()


ROWS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


# --- Every kind of input, every method, every form of answer -----------------------------

JSON_INPUTS = {
    "lists": ROWS.tolist(),
    "integers": ROWS.int().tolist(),
    "base64 of lists": encoded(json.dumps(ROWS.tolist()).encode()),
    "base64 of torch.save": encoded(saved_bytes(ROWS)),
    "base64 of safetensors": encoded(save_tensors({"x": ROWS})),
}
FORM_INPUTS = {
    "file of torch.save": lambda: upload(saved_bytes(ROWS)),
    "file of safetensors": lambda: upload(save_tensors({"x": ROWS})),
    "file of lists": lambda: upload(json.dumps(ROWS.tolist()).encode()),
    "file of base64": lambda: upload(encoded(saved_bytes(ROWS)).encode()),
    "field of lists": lambda: json.dumps(ROWS.tolist()),
    "field of base64": lambda: encoded(saved_bytes(ROWS)),
}


@pytest.mark.parametrize("form", ["json", "binary", "safetensors"])
@pytest.mark.parametrize("kind", [*JSON_INPUTS, *FORM_INPUTS])
def test_every_kind_of_input_gives_the_same_classes(client, model, kind, form):
    if kind in JSON_INPUTS:
        answer = read(ask(client, model, JSON_INPUTS[kind], form))
    else:
        answer = read(send(client, model, FORM_INPUTS[kind](), form))
    assert torch.as_tensor(answer["inference"]).tolist() == [3, 3]
    assert not answer.get("uncertainty")


@pytest.mark.parametrize("form", ["json", "binary", "safetensors"])
def test_every_form_tells_the_uncertainty(client, model, user, form):
    TrainingFactory(model=model, actor=user, uncertainty_method="MC_DROPOUT")
    answer = read(ask(client, model, ROWS.tolist(), form))
    names = {"variance", "std", "predictive_entropy", "expected_entropy", "mutual_info"}
    if form == "safetensors":
        assert answer.keys() == {"inference"} | {f"uncertainty.{name}" for name in names}
        return
    assert answer.keys() == {"inference", "uncertainty"}
    assert answer["uncertainty"].keys() == names
    variance = torch.as_tensor(answer["uncertainty"]["variance"])
    assert variance.shape == (2, 4)
    assert (variance > 0).any()
    assert torch.as_tensor(answer["uncertainty"]["mutual_info"]).shape == (2,)


def test_the_answer_takes_the_requests_form(client, model):
    responses = ask(client, model, ROWS.tolist()), send(client, model, upload(saved_bytes(ROWS)))
    assert [response["Content-Type"] for response in responses] == [
        "application/json",
        "application/octet-stream",
    ]
    assert [read(response)["inference"] is not None for response in responses] == [True, True]


def test_the_same_input_gives_the_same_answer_though_the_model_keeps_count(client):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = torch.nn.Buffer(torch.zeros(2))
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, x):
            self.seen[0] += 1.0
            return self.layer(x) * 0 + torch.stack((self.seen[0], self.seen[1] + 1.5))

    counting = post_model(client, scripted(Counting()))
    assert [read(ask(client, counting, [[1.0, 2, 3]]))["inference"] for _ in range(3)] == [[1]] * 3


def test_nothing_stays_behind(client, model):
    before = files()
    read(ask(client, model, ROWS.tolist()))
    read(send(client, model, upload(saved_bytes(ROWS))))
    assert ask(client, model, [[1.0, 2.0]]).status_code == 400
    assert files() == before


def test_numbers_that_json_lacks_become_null(client, user):
    module = torch.nn.Sequential(torch.nn.Linear(1, 2))
    model = post_model(client, saved(module))
    TrainingFactory(model=model, actor=user, uncertainty_method="MC_DROPOUT")
    answer = read(ask(client, model, [[1e38], [1.0]]))
    module[0].weight.data.fill_(1e30)
    assert None not in answer["inference"][1]
    huge = post_model(client, saved(module))
    TrainingFactory(model=huge, actor=user, uncertainty_method="MC_DROPOUT")
    assert read(ask(client, huge, [[1e38], [1.0]]))["inference"][0] == [None, None]


# --- Images and preprocessing ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_an_image_gets_a_batch_dimension_and_values_up_to_one(client, user, kind):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2))
    torch.nn.init.constant_(module[1].weight, 1.0)
    torch.nn.init.constant_(module[1].bias, 0.0)
    model = post_model(client, saved(module), input_shape=["None", "3", "1", "1"])
    TrainingFactory(model=model, actor=user, uncertainty_method="MC_DROPOUT")
    image = png("RGB", (1, 1), (255, 255, 255), kind=kind)
    for response in (
        send(client, model, upload(image), "json"),
        ask(client, model, encoded(image)),
    ):
        assert read(response)["inference"] == [[3.0, 3.0]]


def test_preprocessing_sees_the_decoded_input(client):
    flatten = torch.nn.Sequential(torch.nn.Flatten(0), torch.nn.Unflatten(0, (1, 3)))
    model = post_model(
        client, saved(classifier()), input_shape=["1", "3"], model_preprocessing_file=saved(flatten)
    )
    assert read(ask(client, model, [[1.0], [2], [3]]))["inference"] == [3]
    assert read(send(client, model, upload(png(size=(1, 1))), "json"))["inference"] == [3]


def test_preprocessing_may_take_what_is_no_tensor(client):
    class Lengths(torch.nn.Module):
        def forward(self, texts: list[str]):
            return torch.tensor([[float(len(text)), 0.0, 0.0] for text in texts])

    model = post_model(client, saved(classifier()), model_preprocessing_file=scripted(Lengths()))
    assert read(ask(client, model, ["a", "bc"]))["inference"] == [3, 3]
    refused = ask(client, model, [[1.0]])
    assert refused.status_code == 400
    assert refused.json()[0].startswith("Preprocessing refuses the input: ")


def test_integers_stay_integers_for_an_embedding(client):
    module = torch.nn.Sequential(torch.nn.Embedding(9, 2), torch.nn.Flatten())
    for file in (saved(module), scripted(module)):
        assert len(read(ask(client, post_model(client, file), [[1, 2], [3, 4]]))["inference"]) == 2


# --- What is refused ---------------------------------------------------------------------


def test_what_is_missing_is_named(client, model):
    assert refusal(client.post(URL, {}, format="json")) == ["No 'model_id' provided in request."]
    assert refusal(client.post(URL, {"model_input": "x"}, format="multipart")) == [
        "No 'model_id' provided in request."
    ]
    for form in ("json", "multipart"):
        response = client.post(URL, {"model_id": str(model.pk)}, format=form)
        assert refusal(response) == ["No uploaded file 'model_input' found."]


@pytest.mark.parametrize("id", ["x", "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4", 7, None, [], {}])
def test_an_unknown_model_is_named(client, id):
    response = client.post(URL, {"model_id": id, "model_input": [[1]]}, format="json")
    assert refusal(response) == {"detail": f"Model {id} not found."}


@pytest.mark.parametrize("form", ["xml", "", 3, None, []])
def test_an_unknown_form_is_named(client, model, form):
    body = {"model_id": str(model.pk), "model_input": [[1]], "return_format": form}
    assert refusal(client.post(URL, body, format="json")) == [
        f"Unknown return format '{form}'. Supported are binary and json."
    ]


@pytest.mark.parametrize(
    "value",
    ["", "no base64!", "abcd", "ä", encoded(b"\x00\x01\x02"), encoded(b"text"), 3, None, True, {}],
)
def test_what_is_no_tensor_is_refused(client, model, value):
    assert refusal(ask(client, model, value)) == [NO_TENSOR]


@pytest.mark.parametrize("value", [[[1.0], [1.0, 2.0]], ["a"], [None], [2**70], [[{}]]])
def test_lists_that_are_no_tensor_are_refused(client, model, value):
    assert refusal(ask(client, model, value)) == [NO_TENSOR]


@pytest.mark.parametrize("content", [b"\x00\xff", b"[1, NaN]", b"[1", b"hello", b"{}", b"PK\3\5"])
def test_a_file_that_is_no_tensor_is_refused(client, model, content):
    assert refusal(send(client, model, upload(content))) == [NO_TENSOR]


@pytest.mark.parametrize(
    "content",
    [
        saved_bytes(torch.nn.Linear(1, 1)),
        saved_bytes({"a": ROWS, "b": ROWS}),
        save_tensors({"a": ROWS, "b": ROWS + 1}),
        pickle.dumps([1]),
        b"PK\3\4" + b"x" * 100,
        b"12345678{" + b"x" * 100,
        png()[:40],
        b"\xff\xd8\xff" + b"x" * 100,
        b"RIFF\0\0\0\0WEBPx",
        png("1", (20_000, 20_000), 0),
        png("F", (3, 1), 0, "TIFF"),
    ],
    ids=range(11),  # a saved module's bytes are others in each process
)
def test_a_broken_or_unsuitable_file_is_refused_with_a_reason(client, model, content):
    [reason] = refusal(send(client, model, upload(content)))
    assert reason.startswith(("Model input ", "The image ", "Images of "))


def test_shapes_are_compared_from_the_front(client, model):
    assert refusal(ask(client, model, [[1.0, 2.0]])) == [
        "Input shape does not match model input shape.",
        "The input's shape is [1, 2], the model's [null, 3]; null is any size.",
    ]


def test_what_the_model_refuses_is_told(client):
    for file in (saved(make_module()), scripted(make_module())):
        [reason] = refusal(ask(client, post_model(client, file), [[1.0, 2.0]]))
        assert reason.startswith("The model refuses the input: ")
        assert "cannot be multiplied" in reason


def test_a_batch_may_not_be_too_large(client, model, settings):
    settings.FL_MAX_INFERENCE_BATCH = 1
    assert refusal(ask(client, model, ROWS.tolist())) == [
        "A request may hold up to 1 inputs; this has 2."
    ]


def test_a_body_may_not_be_too_large(client, model, settings):
    settings.FL_MAX_INFERENCE_BYTES = 1000
    response = send(client, model, upload(bytes(2000)))
    assert refusal(response, 413) == {"detail": "The request's body is larger than 1000 bytes."}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_other_content_types_are_not_read(client, kind):
    response = client.generic("POST", URL, b"model_id=1", content_type=kind)
    assert "Unsupported media type" in refusal(response, 415)["detail"]


# --- Who may ask -------------------------------------------------------------------------


def test_readers_may_ask(client, model, user, stranger, nobody):
    participant = UserFactory()
    TrainingFactory(model=model, actor=user, participants=[participant])
    assert read(ask(as_user(participant), model, ROWS.tolist()))["inference"] == [3, 3]
    assert refusal(ask(stranger, model, ROWS.tolist()), 403) == {
        "detail": "You do not have permission to perform this action."
    }
    assert ask(nobody, model, ROWS.tolist()).status_code == 401


# --- What can go wrong on our side -------------------------------------------------------


def test_a_stored_model_that_cannot_be_loaded_is_a_fault(client):
    model = post_model(client, saved(classifier(5)))
    model.file.storage.delete(model.file.name)
    model.file.storage.save(model.file.name, upload(saved_bytes({"a": ROWS})))
    assert refusal(ask(client, model, ROWS.tolist()), 500) == ["Error loading torch object"]


def test_a_file_that_is_gone_is_told(client):
    model = post_model(client, saved(classifier(6)))
    model.file.storage.delete(model.file.name)
    assert refusal(ask(client, model, ROWS.tolist())) == ["A file is gone; try again."]


def test_beyond_the_users_places_the_server_is_busy_and_serves_others(client, user, model):
    with ExitStack() as stack:
        for _ in range(waiting.PREDICTIONS.each):
            assert stack.enter_context(waiting.PREDICTIONS.place(user.pk))
        response = ask(client, model, ROWS.tolist())
        assert refusal(response, 503) == {"detail": "The server is busy; try again."}
        assert response["Retry-After"] == "1"
        TrainingFactory(model=model, actor=user, participants=[other := UserFactory()])
        assert read(ask(as_user(other), model, ROWS.tolist()))["inference"] == [3, 3]


def test_without_a_worker_the_server_is_busy(client, model, monkeypatch):
    def nobody_there(*args):
        raise NoWorker("No worker is free.")

    monkeypatch.setattr(serving, "ask", nobody_there)
    before = files()
    assert ask(client, model, ROWS.tolist()).status_code == 503
    assert files() == before


def test_whose_turn_does_not_come_is_told_that_the_server_is_busy(client, user, model, monkeypatch):
    monkeypatch.setattr(tasks, "QUEUE_SECONDS", 0)
    with ExitStack() as stack:
        for _ in range(worker.TURNS.each):
            assert stack.enter_context(worker.TURNS.place(user.pk))
        assert ask(client, model, ROWS.tolist()).status_code == 503
        TrainingFactory(model=model, actor=user, participants=[other := UserFactory()])
        assert read(ask(as_user(other), model, ROWS.tolist()))["inference"] == [3, 3]


def test_what_cannot_be_cleaned_up_does_not_replace_the_answer(client, model, monkeypatch):
    class Result:
        id = "1"

        def get(self, **_):
            return {"code": "refused", "sentence": "No."}

        def forget(self):
            raise OSError("It is gone.")

    def cannot_delete(*_):
        raise OSError("It is in use.")

    monkeypatch.setattr(serving, "ask", ASK)
    monkeypatch.setattr(serving.current_app, "send_task", lambda *_, **__: Result())
    monkeypatch.setattr(FileSystemStorage, "delete", cannot_delete)
    assert refusal(ask(client, model, ROWS.tolist())) == ["No."]


@pytest.fixture
def raising(monkeypatch):
    """Let every runner raise an error."""

    def replace(error):
        def do(*args):
            raise error

        monkeypatch.setattr(Runner, "do", do)

    return replace


def test_without_a_cage_that_holds_no_model_is_run(client, model, raising):
    raising(NoCage("files"))
    sentence = "Models aren't run: this system can't hold them as FL_CAGE requires."
    assert refusal(ask(client, model, ROWS.tolist()), 503) == {"detail": sentence}


def test_without_a_runner_the_server_is_busy(client, model, raising):
    raising(NoRunner("refused"))
    assert ask(client, model, ROWS.tolist())["Retry-After"] == "1"


def test_a_model_that_loops_is_stopped_and_the_next_request_served(client, model, settings):
    class Endless(torch.nn.Module):
        def forward(self, x):
            while bool(x.sum() < 1e30):
                x = x * 1.0
            return x

    endless = post_model(client, scripted(Endless()))
    settings.FL_RUNNER_SECONDS = 1
    response = ask(client, endless, ROWS.tolist())
    assert refusal(response, 504) == {"detail": "The model took more than 1 seconds."}
    settings.FL_RUNNER_SECONDS = PATIENCE
    assert read(ask(client, model, ROWS.tolist()))["inference"] == [3, 3]


def test_a_model_that_eats_memory_is_refused_and_the_next_request_served(client, model):
    class Greedy(torch.nn.Module):
        def forward(self, x):
            while x.numel() > 0:
                x = torch.cat((x, x))
            return x

    response = ask(client, post_model(client, scripted(Greedy())), ROWS.tolist())
    [reason] = refusal(response)
    assert "memory" in reason
    assert read(ask(client, model, ROWS.tolist()))["inference"] == [3, 3]
