"""Predictions of a real server: web, broker, worker and runners in processes of their own."""

import io
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import torch
from torch import nn

from tests.e2e.conftest import running_server
from tests.e2e.people import Person
from tests.servers import S3, Redis
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("inference")]

BATCH = [[1.0, 2.0, 3.0]]


class Endless(nn.Module):
    def forward(self, x):
        while bool(x.sum() < 1e30):
            x = x * 1.0
        return x


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    return file.getvalue()


def scripted(module):
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.save(torch.jit.script(module), file)
    return file.getvalue()


def classifier(best):
    module = nn.Sequential(nn.Linear(3, 4), nn.Softmax(1))
    nn.init.zeros_(module[0].weight)
    module[0].bias.data = nn.functional.one_hot(torch.tensor(best), 4).float()
    return module


def ask(person, model, **options):
    return person.ask(
        "POST", "/inference/", json={"model_id": model, "model_input": BATCH}, **options
    )


def stats(person, model):
    return wait_until(lambda: person.ask("GET", f"/models/{model}/metadata/")["stats"])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inference")
    with running_server(folder, FL_RUNNER_SECONDS="8") as url:
        yield url, folder / "var" / "models"


def test_a_model_predicts_and_nothing_is_left(server):
    url, folder = server
    person = Person(url).be_patient()
    model = person.upload_model(saved(classifier(2)), input_shape=["None", "3"])
    stored = {path.name for path in folder.iterdir()}
    assert ask(person, model) == {"inference": [2], "uncertainty": {}}
    file = io.BytesIO()
    torch.save(torch.tensor(BATCH), file)
    answer = person.ask(
        "POST", "/inference/", data={"model_id": model}, files={"model_input": file.getvalue()}
    )
    assert torch.equal(pickle.loads(answer)["inference"], torch.tensor([2]))
    assert {path.name for path in folder.iterdir()} == stored
    wait_until(lambda: not list((folder / "scratch").iterdir()))  # after the answer is sent
    assert stats(person, model)["total_params"] == 16


def test_a_model_that_hangs_holds_up_nobody_else(server):
    person = Person(server[0]).be_patient()
    endless = person.upload_model(scripted(Endless()))
    well = person.upload_model(saved(classifier(1)))
    codes = []

    def hang():
        try:
            ask(person, endless, expect=504)
            codes.append(504)
        except (AssertionError, requests.RequestException) as error:
            codes.append(error)

    hanging = [threading.Thread(target=hang) for _ in range(2)]
    for thread in hanging:
        thread.start()
    for _ in range(3):
        assert ask(person, well)["inference"] == [1]
    for thread in hanging:
        thread.join()
    assert codes == [504, 504]
    assert ask(person, well)["inference"] == [1]


def test_many_at_once_get_their_own_answers(server):
    person = Person(server[0]).be_patient()
    models = {best: person.upload_model(saved(classifier(best))) for best in range(4)}

    def work(best):
        return [ask(person, models[best])["inference"] for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [[[best]] * 5 for best in range(4)]


def test_input_and_answer_travel_by_bucket_and_redis(tmp_path):
    with Redis() as redis, S3() as s3:
        bucket = s3.bucket("models")
        with running_server(
            tmp_path, FL_REDIS_LOCATION=f"redis://127.0.0.1:{redis.port}", **bucket
        ) as url:
            person = Person(url).be_patient()
            model = person.upload_model(saved(classifier(2)), input_shape=["None", "3"])
            for _ in range(3):
                assert ask(person, model) == {"inference": [2], "uncertainty": {}}
            assert stats(person, model)["total_params"] == 16
        listed = requests.get(f"{bucket['FL_S3_ENDPOINT_URL']}/models", timeout=PATIENCE).text
        assert listed.count("<Key>") == 1  # the model alone
