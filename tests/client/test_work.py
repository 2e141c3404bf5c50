"""One message's work: what is skipped, what is sent, what ends a client."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fl_client import Refused, Unfit
from fl_client.local import Local
from fl_client.transfers import Fetched
from fl_client.work import Wire, Worker


class Api:
    """A server that remembers what it was sent."""

    def __init__(self, **options):
        self.now = {"phase": "update", "number": 0, "awaited": ["me"]}
        self.options, self.sent, self.asked, self.refuses = options, [], [], None

    def training(self, training):
        if self.now is None:
            raise Refused(403, "You are out.")
        fields = {"aggregation_method": "FedAvg", "options": self.options}
        return {"id": training, "model": "global", "round": self.now} | fields

    def download_model(self, model, target, part="", dtype=""):
        self.asked.append((model, part, dtype))
        save_file({"w": np.zeros(2, "f4"), "own": np.ones(1, "f4")}, target)
        return Fetched(target, "v1")

    def send_update(self, model, file, **said):
        if self.refuses:
            raise self.refuses()
        self.sent.append((model, load_file(file), said))

    def report_metrics(self, model, metrics):
        self.sent.append((model, metrics))

    def send_moments(self, model, first, second, **said):
        self.sent.append((model, load_file(first), load_file(second), said))


FUNCTIONS = {
    "train": lambda model, job: ({name: array + 1 for name, array in model.items()}, 9),
    "test": lambda model, job: {"loss": 0.5},
    "moments": lambda model, job: (model, model, 9),
}


def worker(api, tmp_path, **options):
    return Worker(api, "me", tmp_path, Local(FUNCTIONS), **options)


def item(kind="UPDATE_ROUND_START", number=0, model="global"):
    body = {"round": number, "global_model_uuid": model}
    return {"notification_type": kind, "training_uuid": "t", "body": body}


def test_a_round_is_an_update_then_metrics(tmp_path):
    api = Api()
    mine = worker(api, tmp_path)
    mine.do(item())
    api.now = {"phase": "test", "number": 1, "awaited": ["me"]}
    mine.do(item("MODEL_TEST_ROUND", 1))
    (model, update, said), metrics = api.sent
    assert (model, update["w"].tolist()) == ("global", [1, 1])
    assert said["base"] == "v1"
    assert (said["round"], said["sample_size"]) == (0, 9)
    assert metrics == ("global", {"loss": 0.5})
    mine.do(item("TRAINING_FINISHED"))
    assert not list(tmp_path.iterdir())


def test_moments_are_sent_in_their_phase(tmp_path):
    api = Api()
    api.now["phase"] = "swag"
    worker(api, tmp_path).do(item("SWAG_ROUND_START"))
    [(_, first, second, said)] = api.sent
    assert first["w"].dtype == second["w"].dtype == np.float64
    assert said == {"round": 0, "sample_size": 9}


@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_fails_to_tell_ends_nothing(tmp_path, status):
    api = Api()

    def fail(training):
        raise Refused(status, "The server failed.")

    api.training = fail
    with pytest.raises(Refused):  # so nothing is acknowledged
        worker(api, tmp_path).do(item())


@pytest.mark.parametrize(
    "now",
    [
        None,
        {"phase": "update", "number": 1, "awaited": ["me"]},
        {"phase": "test", "number": 0, "awaited": ["me"]},
        {"phase": "update", "number": 0, "awaited": ["others"]},
    ],
)
def test_what_nobody_waits_for_is_left(tmp_path, now):
    api = Api()
    api.now = now
    worker(api, tmp_path).do(item())
    assert (api.asked, api.sent) == ([], [])


def test_an_answer_that_came_too_late_is_no_error(tmp_path):
    api = Api()

    def close():
        api.now = {"phase": "update", "number": 1, "awaited": ["me"]}
        return Refused(400, "Training with ID t is not currently in round 0")

    api.refuses = close
    worker(api, tmp_path).do(item())


def test_an_answer_that_is_refused_while_it_is_awaited_ends_the_client(tmp_path):
    api = Api()
    api.refuses = lambda: Refused(400, "Tensor 'w' holds NaN")
    with pytest.raises(Refused, match="NaN"):
        worker(api, tmp_path).do(item())


def test_the_whole_model_comes_first_then_the_part_that_is_exchanged(tmp_path):
    api = Api(exchange={"tensors": {"include": ["w"]}})
    mine = worker(api, tmp_path, wire=Wire(dtype="float16"))
    mine.do(item())
    api.now["number"] = 1
    mine.do(item(number=1))
    assert api.asked == [("global", "", ""), ("global", "exchanged", "float16")]
    assert [update.keys() for _, update, _ in api.sent] == [{"w"}, {"w"}]


def test_of_a_chains_models_the_last_is_kept_alone(tmp_path):
    api = Api(daisy_chain_period=3)
    mine = worker(api, tmp_path)
    for number, model in enumerate(["global", "local-1", "local-2"]):
        api.now["number"] = number
        mine.do(item(number=number, model=model))
    assert {path.name for path in (tmp_path / "t").iterdir()} == {"global", "local-2"}


def test_a_function_that_fails_leaves_its_message(tmp_path):
    mine = worker(Api(), tmp_path)
    mine.runner = Local({"train": lambda model, job: None})
    with pytest.raises(Unfit):
        mine.do(item())


@pytest.mark.parametrize("name", ["..", "../kept", "{out}", "a/b", "", ".hidden", "é", None, 7])
def test_no_server_leads_out_of_the_clients_folder(tmp_path, name):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "precious").touch()
    (tmp_path / "state").mkdir()
    name = name.format(out=tmp_path / "kept") if isinstance(name, str) else name
    api = Api()
    mine = worker(api, tmp_path / "state")
    for kind in ("TRAINING_FINISHED", "CLIENT_REMOVED", "UPDATE_ROUND_START"):
        with pytest.raises(Unfit, match="no server does"):
            mine.do(item(kind) | {"training_uuid": name})
    with pytest.raises(Unfit, match="no server does"):
        mine.do(item(model=name))
    api.training = lambda training: Api.training(api, training) | {"model": name}
    with pytest.raises(Unfit, match="no server does"):
        mine.do(item())
    assert (tmp_path / "kept" / "precious").exists()
    assert api.asked == []
