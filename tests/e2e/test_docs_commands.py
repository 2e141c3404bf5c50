"""The docs' requests by curl, pasted as they stand."""

import json
import os
import re
import subprocess
from shutil import which

import pytest
import torch
from safetensors.torch import load, load_file, save, save_file

from tests.e2e.conftest import ROOT
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, update_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(which("curl") is None, reason="curl is not installed"),
]


def commands(page, word="curl"):
    """Return a page's blocks of commands in which this word is."""
    blocks = re.findall(r"```(?:ba)?sh\n(.+?)```", (ROOT / page).read_text(), re.DOTALL)
    return [block for block in blocks if "curl" in block and word in block]


def run(command, person, folder, **variables):
    """Run commands as somebody would who has set the variables; return what they print."""
    token = person.session.headers["Authorization"].removeprefix("Token ")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"TOKEN": token, "SERVER": person.url} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def paste(page, person, model, folder):
    """Run a page's first request; return the answer."""
    return json.loads(run(commands(page)[0], person, folder, MODEL=model))


def test_an_update_is_sent_as_the_whole_body(embedded, tmp_path):
    actor, person, other = (Person(embedded) for _ in range(3))
    model = actor.upload_model(scripted(0.0))
    actor.start(actor.open_training(model, [person, other], 1))
    person.await_notification("UPDATE_ROUND_START", 0)
    (tmp_path / "update.pt").write_bytes(update_of(1.0))
    answer = paste("docs/files.md", person, model, tmp_path)
    assert answer == {"detail": "Model Update Accepted"}


def test_an_update_is_sent_in_parts(embedded, tmp_path):
    actor, person, other = (Person(embedded) for _ in range(3))
    model = actor.upload_model(scripted(0.0))
    actor.start(actor.open_training(model, [person, other], 1))
    person.await_notification("UPDATE_ROUND_START", 0)
    (tmp_path / "update.pt").write_bytes(content := update_of(1.0))
    begin, send, hand_in = commands("docs/files.md", "pload")
    told = run(begin, person, tmp_path)
    upload = re.search(r"(?i)^location: .*/([\w-]+)/\s*$", told, re.MULTILINE)[1]
    dropped = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    dropped["Content-Type"] = "application/offset+octet-stream"
    person.ask("PATCH", f"/uploads/{upload}/", data=content[:9], headers=dropped)
    run(send, person, tmp_path, UPLOAD=upload)
    answer = json.loads(run(hand_in, person, tmp_path, UPLOAD=upload, MODEL=model))
    assert answer == {"detail": "Model Update Accepted"}


def test_a_prediction_is_asked_for(embedded, tmp_path):
    person = Person(embedded)
    model = person.upload_model(scripted(0.5, inputs=3))
    answer = paste("docs/uncertainty.md", person, model, tmp_path)
    assert answer["inference"] == [0]  # of one class


def test_a_part_is_downloaded_in_half_the_bits_and_differences_are_sent(embedded, tmp_path):
    actor, person, other = (Person(embedded) for _ in range(3))
    state = {"body": torch.randn(3, 8), "head": torch.ones(2, 3)}
    model = actor.upload_model(save(state))
    exchange = {"tensors": {"include": ["head*"]}}
    options = {"exchange": exchange}
    actor.start(actor.open_training(model, [person, other], 1, options=options))
    for one in (person, other):
        one.await_notification("UPDATE_ROUND_START", 0)
    download, send = commands("docs/exchange.md")
    run(f"{download}\necho $BASE > base", person, tmp_path, MODEL=model)
    part = load_file(tmp_path / "part.safetensors")
    assert {name: values.dtype for name, values in part.items()} == {"head": torch.float16}
    save_file({"head": torch.full((2, 3), 0.5)}, tmp_path / "delta.safetensors")
    base = (tmp_path / "base").read_text().strip()
    answer = json.loads(run(send, person, tmp_path, MODEL=model, BASE=base))
    assert answer == {"detail": "Model Update Accepted"}
    other.update(model, 0, save({"head": torch.ones(2, 3)}), sample_size=200)
    person.await_notification("MODEL_TEST_ROUND", 1)
    merged = load(actor.ask("GET", f"/models/{model}/"))
    assert merged["head"].unique().tolist() == [1.375]


def test_weights_alone_are_given_their_code(embedded, tmp_path):
    person = Person(embedded)
    model = person.upload_model(save({"weight": torch.zeros(1, 2)}))
    (tmp_path / "net.pt").write_bytes(scripted(0.0))
    [command] = commands("docs/files.md", "serving_file")
    assert "Accepted" in json.loads(run(command, person, tmp_path, MODEL=model))["detail"]


def test_an_actor_needs_no_more_than_curl(embedded, tmp_path):
    actor, person = Person(embedded), Person(embedded)
    (tmp_path / "slices").mkdir()
    save_file({"weight": torch.zeros(10, 64)}, tmp_path / "slices/digits.safetensors")
    upload, plan, start = commands("examples/curl/README.md")
    model = json.loads(run(upload, actor, tmp_path))["model_id"]
    opened = json.loads(run(plan, actor, tmp_path, MODEL=model, CLIENT=person.id))
    run(start, actor, tmp_path, TRAINING=opened["training_id"])
    person.await_notification("UPDATE_ROUND_START", 0)


def test_int8_is_read_with_its_scales(embedded):
    person = Person(embedded)
    state = {"matrix": torch.randn(4, 8), "filter": torch.randn(4, 2, 3), "bias": torch.randn(4)}
    model = person.upload_model(save(state))
    tensors = load(person.ask("GET", f"/models/{model}/", params={"dtype": "int8"}))
    [recipe] = re.findall(
        r"```python\n(.+?)```", (ROOT / "docs/exchange.md").read_text(), re.DOTALL
    )
    for name, values in state.items():
        found = {"tensors": tensors, "name": name}
        exec(recipe, found)
        assert torch.allclose(found["values"], values, atol=values.abs().max().item() / 250), name


def test_metrics_come_as_tables_and_as_event_files(embedded, tmp_path):
    actor, person = Person(embedded), Person(embedded)
    model = actor.upload_model(scripted(0.0))
    training = actor.open_training(model, [person], 1)
    actor.start(training)
    person.await_notification("UPDATE_ROUND_START", 0)
    person.update(model, 0, update_of(1.0))
    person.await_notification("MODEL_TEST_ROUND", 1)
    person.report(model, 0.25)
    person.await_notification("TRAINING_FINISHED")
    for block in commands("docs/tracking.md"):
        run(block, person, tmp_path, TRAINING=training)
    head, row = (tmp_path / "metrics.csv").read_text().splitlines()
    assert head.startswith("round,attempt,participant,")
    assert ",accuracy,0.25," in row
    _, own, mean = (tmp_path / "rounds.csv").read_text().splitlines()
    assert own.endswith(",0.25")
    assert mean.startswith("1,0,mean,,")
    folders = (tmp_path / "runs" / "my-training").iterdir()
    assert len([file for folder in folders for file in folder.glob("events.*")]) == 2
