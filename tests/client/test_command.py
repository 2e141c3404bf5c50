"""The command `fl`: what it says, to people and to programs, and how it fails."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from click.testing import CliRunner
from safetensors.numpy import load_file, save

from fl_client import places
from fl_client.command import fl
from fl_client.command.metrics import curve, means
from fl_client.command.trainings import read_options
from fl_client.command.watching import describe
from fl_client.errors import Unfit
from tests.client.conftest import URL

API = f"{URL}/api"
ROWS = [
    {"key": "loss", "step": step, "value_float": value, "reporter": who, "identifier": None}
    for step, who, value in [(1, "a", 4.0), (1, "b", 2.0), (2, "a", 1.0), (2, "b", 1.0)]
] + [{"key": "text", "step": 1, "value_float": None, "reporter": "a", "identifier": None}]
TRAINING = {"id": "t-1", "model": "m-1", "state": "C", "aggregation_method": "FedAvg"}


@pytest.fixture
def run(monkeypatch):
    """Run the command as alice; returns its exit code and what it printed."""
    places.keep("alice", URL, "token", "secret")
    places.keep_login("alice", URL)

    def called(*arguments, code=0, **options):
        result = CliRunner().invoke(fl, arguments, **options)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return called


@pytest.fixture
def metrics(server):
    server.get(f"{API}/users/trainings/", json=[TRAINING])
    server.get(f"{API}/models/m-1/metrics/", json=ROWS)


def test_means_are_by_round_and_only_of_numbers():
    assert means(ROWS) == {"loss": {1: 3.0, 2: 1.0}}


def test_a_curve_is_one_line():
    assert curve([1, 3, 2]) == "▁█▅ 1 → 2"
    assert curve([2, 2]) == "▁▁ 2 → 2"
    assert curve([]) == ""


def test_options_are_paths_and_json():
    texts = (
        "round.quorum=0.5",
        "round.stop_when.metric=loss",
        'exchange.tensors={"include": ["a"]}',
    )
    assert read_options(texts) == {
        "round": {"quorum": 0.5, "stop_when": {"metric": "loss"}},
        "exchange": {"tensors": {"include": ["a"]}},
    }
    with pytest.raises(Unfit, match=r"round\.quorum=2"):
        read_options(("quorum",))


def test_who_is_awaited_is_said_by_name():
    now = {"phase": "update", "awaited": ["1", "2", "unknown"]}
    names = {"1": "bob", "2": "alice"}
    assert describe({"state": "O", "round": now}, names) == "training, awaiting alice, bob, unknown"


def test_metrics_are_a_table(run, metrics):
    said = run("metrics").output.split()
    assert said[:6] == ["round", "loss", "1", "3.0000", "2", "1.0000"]


def test_metrics_are_csv_or_json_for_programs(run, metrics):
    assert run("metrics", "--csv").output.splitlines()[:2] == [
        "step,key,value_float,reporter,identifier",
        "1,loss,4.0,a,",
    ]
    assert json.loads(run("metrics", "--json").output) == ROWS


def test_metrics_are_a_picture(run, metrics, tmp_path):
    run("metrics", "--plot", str(tmp_path / "out.png"))
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_are_events_where_something_can_write_them(run, metrics, tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            written.append(folder)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_scalar(self, *values):
            written.append(values)

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    run("metrics", "--tensorboard", str(tmp_path))
    assert written == [str(tmp_path), ("loss", 3.0, 1), ("loss", 1.0, 2)]
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install" in run("metrics", "--tensorboard", str(tmp_path), code=1).stderr


def test_errors_are_one_sentence_or_json(run, server):
    server.get(f"{API}/users/trainings/", json=[])
    result = run("stop", code=1)
    assert result.stderr == "You have no trainings yet: `fl train`.\n"
    assert json.loads(run("stop", "--json", code=1).stderr) == {"error": result.stderr.strip()}


def test_a_server_that_cant_be_reached_has_a_code_of_its_own(run, server, waited):
    server.get(f"{API}/users/myself/", body=requests.ConnectionError())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fl_client.command.session.PATIENCE", 0)
        said = run("whoami", code=3).stderr
    assert "can't be reached" in said
    assert "FL_URL" in said


def test_nobody_is_told_how_to_become_somebody(run):
    assert "fl register" in run("--url", "http://other.test", "whoami", code=1).stderr


def test_a_token_in_the_environment_is_enough(run, server, monkeypatch):
    monkeypatch.setenv("FL_TOKEN", "another")
    server.get(f"{API}/users/myself/", json={"username": "bob"})
    assert "You are bob" in run("whoami").output
    assert server.calls[0].request.headers["Authorization"] == "Token another"


def test_who_registered_here_before_is_that_user_again(run, server):
    server.get(f"{API}/users/myself/", json={"id": "u", "username": "alice"})
    assert "You are alice" in run("register", "alice").output


def test_a_login_keeps_the_token_and_no_password(run, server):
    server.get(f"{API}/users/myself/", json={"id": "u", "username": "bob"})
    server.get(f"{API}/users/u/", json={"id": "u", "token": "bobs"})
    run("--url", URL, "login", "bob", input="word\n")
    assert places.kept_login() == {"name": "bob", "url": URL}
    assert places.kept("bob", URL, "token") == "bobs"
    assert not any("word" in file.read_text() for file in places.config_folder().iterdir())


def test_a_wrong_password_logs_nobody_in(run, server):
    server.get(f"{API}/users/myself/", status=401)
    run("login", "bob", "--password", "wrong", code=1)
    assert places.kept_login()["name"] == "alice"


def test_ids_may_be_cut_short_as_long_as_they_are_clear(run, server):
    rows = [TRAINING, TRAINING | {"id": "t-2"}]
    server.get(f"{API}/users/trainings/", json=rows)
    server.post(f"{API}/trainings/t-1/stop/", status=202, json={"detail": "Training stopped!"})
    assert json.loads(run("stop", "t-1", "--json").output)["training_id"] == "t-1"
    assert "2 trainings 't'" in run("stop", "t", code=1).stderr


def test_of_several_of_a_name_the_newest_is_meant_but_none_is_removed(run, server):
    named = [{"id": name, "name": "net", "round": 1} for name in ("m-1", "m-2")]
    server.get(f"{API}/models/", json=named)
    server.get(f"{API}/users/trainings/", json=[])
    server.get(f"{API}/models/m-2/checkpoints/", json=[])
    run("list", "checkpoints", "--model", "net")
    assert "2 models 'net': give an id" in run("remove", "net", "--yes", code=1).stderr
    assert "2 models 'm'" in run("remove", "m", "--yes", code=1).stderr


def test_who_hasnt_registered_is_waited_for_and_named(run, server, monkeypatch):
    users = [{"id": "a", "username": "alice"}, {"id": "b", "username": "bob"}]
    for known in ([], users[:1], users[:1], users):
        server.get(f"{API}/users/", json=known)
    monkeypatch.setattr("fl_client.command.trainings.time.sleep", lambda seconds: None)
    server.get(f"{API}/models/", json=[{"id": "m-1", "name": "net"}])
    server.get(f"{API}/users/trainings/", json=[])
    server.post(f"{API}/trainings/", status=201, json={"training_id": "t-1"})
    server.post(f"{API}/trainings/t-1/start/", status=202, json={})
    said = run("train", "--model", "net", "--clients", "alice,bob").stderr.splitlines()
    assert said == ["Waiting for alice, bob to register.", "Waiting for bob to register."]


def test_who_never_registers_is_named_with_what_to_do(run, server):
    server.get(f"{API}/users/", json=[])
    server.get(f"{API}/models/", json=[{"id": "m-1", "name": "net"}])
    server.get(f"{API}/users/trainings/", json=[])
    said = run("train", "--model", "net", "--clients", "alice,bob", "--wait", "0", code=1).stderr
    assert "registered as alice, bob" in said
    assert "--wait" in said


def test_a_model_that_is_neither_here_nor_there_is_told_so(run, server):
    server.get(f"{API}/models/", json=[])
    server.get(f"{API}/users/trainings/", json=[])
    said = run("train", "--model", "net.pt", "--clients", "alice", code=1).stderr
    assert "no model 'net.pt' of yours" in said
    assert "no file" in said


def test_nothing_is_removed_unasked(run, server):
    server.get(f"{API}/users/trainings/", json=[TRAINING])
    run("remove", "t-1", input="n\n", code=1)
    server.delete(f"{API}/trainings/t-1/", json={})
    run("remove", "t-1", "--yes")


def test_weights_are_exported_from_any_model(run, server, tmp_path):
    server.get(f"{API}/models/", json=[{"id": "m-1", "name": "net", "round": 1}])
    server.get(f"{API}/users/trainings/", json=[TRAINING])
    content = save({"w": np.arange(3, dtype="f4"), "file": np.ones(2)})
    server.get(f"{API}/models/m-1/", body=content, headers={"ETag": '"v"'})
    for wanted in ("m-1", "net", "t-1"):
        run("export", wanted, str(tmp_path / "out.npz"))
        with np.load(tmp_path / "out.npz") as weights:
            assert weights["w"].tolist() == [0, 1, 2]
            assert weights["file"].tolist() == [1, 1]
    run("export", "net", str(tmp_path / "out.safetensors"), "--dtype", "float16")
    assert load_file(tmp_path / "out.safetensors")["w"].dtype == np.float16
    run("export", "net", str(tmp_path / "out.txt"), code=1)
    assert {path.name for path in tmp_path.glob("out*")} == {"out.npz", "out.safetensors"}


def test_a_download_that_fails_leaves_the_file_that_was_there(run, server, tmp_path):
    server.get(f"{API}/models/", json=[{"id": "m-1"}])
    server.get(f"{API}/users/trainings/", json=[])
    (tmp_path / "model").write_text("before")
    refused = server.get(f"{API}/models/m-1/", status=403, json={"detail": "No."})
    run("download", "m-1", str(tmp_path / "model"), code=1)
    assert (tmp_path / "model").read_text() == "before"
    server.remove(refused)
    server.get(f"{API}/models/m-1/", body=b"after", headers={"ETag": '"v"'})
    run("download", "m-1", str(tmp_path / "model"))
    assert (tmp_path / "model").read_text() == "after"
    assert [path.name for path in tmp_path.glob("model*")] == ["model"]


def test_the_doctor_tells_a_wrong_clock_and_a_wrong_token(run, server):
    server.get(f"{URL}/health/", headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})
    server.get(f"{URL}/health/ready/", json={})
    server.get(f"{API}/users/myself/", status=401, json={"detail": "Invalid token."})
    found = json.loads(run("doctor", "--json", code=1).output)
    assert {name for name, looked in found.items() if not looked["ok"]} == {"clock", "token"}
    assert found["token"]["said"] == "Invalid token."


def test_trainings_are_listed_by_the_names_of_their_models(run, server):
    known = [("a" * 32, "digits"), ("b" * 32, "twice"), ("c" * 32, "twice"), ("d" * 32, "")]
    rows = [TRAINING | {"id": f"t-{i}", "model": i} for i, _ in [*known, ("e" * 32, "")]]
    server.get(f"{API}/users/trainings/", json=rows)
    server.get(f"{API}/models/", json=[{"id": i, "name": name} for i, name in known])
    lines = run("list").output.splitlines()[1:]
    shown = [line.split("FedAvg")[1].strip() for line in lines]
    assert shown == ["digits", "twice (bbbbbbbb)", "twice (cccccccc)", "d" * 32, "e" * 32]
    assert len(server.calls) == 2
    assert json.loads(run("list", "--json").output) == rows


def test_a_model_to_be_removed_is_asked_about_by_its_name(run, server):
    server.get(f"{API}/users/trainings/", json=[])
    server.get(f"{API}/models/", json=[{"id": "m-1", "name": "digits"}, {"id": "n-2"}])
    asked = [run("remove", i, input="n", code=1).stderr.split("?")[0] for i in ("digits", "n-")]
    assert asked == ["Remove the model digits (m-1)", "Remove the model n-2"]


EVIL = "\x1b]0;x\x07[/red] [bold]:smile:\x9b2J"


def test_names_of_others_only_print(run, server):
    model = {"id": "m-1", "round": 0, "name": EVIL}
    server.get(f"{API}/models/", json=[model])
    server.get(f"{API}/users/trainings/", json=[TRAINING])
    server.get(f"{API}/models/m-1/metrics/", json=[ROWS[0] | {"key": EVIL}])
    inert = "?]0;x?[/red] [bold]:smile:?2J"
    assert inert in run("list", "models").output
    assert inert in run("list", "trainings").output
    assert inert in run("metrics").output
    assert json.loads(run("list", "models", "--json").output) == [model]


def test_a_refusal_only_prints(run, server):
    server.get(f"{API}/users/myself/", json={"detail": EVIL}, status=400)
    assert "\x1b" not in run("whoami", code=1).output


def test_no_metric_is_a_formula_in_the_table(run, server):
    server.get(f"{API}/users/trainings/", json=[TRAINING])
    rows = [ROWS[0] | {"key": key} for key in ("=HYPERLINK(1)", "@x", "a=b")]
    server.get(f"{API}/models/m-1/metrics/", json=rows)
    lines = run("metrics", "--csv").output.splitlines()
    assert [line.split(",")[1] for line in lines] == ["key", "'=HYPERLINK(1)", "'@x", "a=b"]
