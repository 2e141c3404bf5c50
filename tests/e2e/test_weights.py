"""A whole training of weights alone, as docs/files.md shows it: no code of the actor's moves."""

import io
import re
import warnings

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from tests.e2e.conftest import ROOT
from tests.e2e.people import Person

pytestmark = pytest.mark.e2e

ROUNDS = 3
MADE, LOADED = re.findall(r"```python\n(.+?)```", (ROOT / "docs/files.md").read_text(), re.DOTALL)


class Net(nn.Sequential):
    """Of a class that the server has never heard of; its values are exact in few bits."""

    def __init__(self):
        super().__init__(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1).bfloat16())
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.5)


def loaded(person, model):
    """Return the model as a client has it that does what the docs say."""
    names = {"Net": Net, "api": f"{person.url}/api", "model_id": model}
    exec(LOADED, names | {"headers": dict(person.session.headers)}, names)
    return names["model"]


def trained(module, step):
    """Return the state of a module whose every float has moved by the step."""
    state = module.state_dict()
    return {name: t + step if t.is_floating_point() else t + 1 for name, t in state.items()}


def test_two_clients_train_weights_that_come_without_code(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(MADE, {"model": Net()})
    actor, first, second = (Person(server) for _ in range(3))
    model = actor.upload_model((tmp_path / "weights.safetensors").read_bytes())
    training = actor.open_training(model, [first, second], ROUNDS)
    actor.start(training)
    for number in range(ROUNDS):
        for person, step, size in ((first, 1.0, 1), (second, 5.0, 3)):
            person.await_notification("UPDATE_ROUND_START", number)
            content = save(trained(loaded(person, model), step))
            person.update(model, number, content, sample_size=size, expect=201)
        for person in (first, second):
            person.await_notification("MODEL_TEST_ROUND", number + 1)
            person.report(model)
    actor.await_notification("TRAINING_FINISHED")
    final = load(actor.ask("GET", f"/models/{model}/"))
    expected = Net().state_dict()
    assert final.keys() == expected.keys()
    for name, before in expected.items():  # (1 · 1 + 3 · 5) / 4 in each round
        after = before + ROUNDS * (4 if before.is_floating_point() else 1)
        assert torch.equal(final[name], after), name
    form = {"model_id": model, "model_input": [[1.0, 2.0]]}
    [sentence] = actor.ask("POST", "/inference/", json=form, expect=400)
    assert "holds weights alone" in sentence
    assert actor.ask("GET", f"/models/{model}/metadata/")["stats"]["trainable_params"] == 25
    torch.load(tmp_path / "weights.pt", weights_only=True)


def test_weights_predict_by_code_that_the_server_alone_has(server):
    actor = Person(server)
    state = {"weight": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "bias": torch.zeros(2)}
    model, code = actor.upload_model(save(state)), io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), code)
    files = {"serving_file": code.getvalue()}
    actor.ask("POST", f"/models/{model}/serving/", files=files, expect=202)
    form = {"model_id": model, "model_input": [[1.0, 2.0], [2.0, 1.0]]}
    assert actor.ask("POST", "/inference/", json=form)["inference"] == [1, 0]
    assert load(actor.ask("GET", f"/models/{model}/")).keys() == state.keys()
