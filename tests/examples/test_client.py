"""The digits' client: what its command line makes of `fl_client`, and what its functions answer."""

import runpy

import numpy as np
import pytest
import torch
from model import digits_net

import fl_client
from fl_client import Job
from fl_client.job import MOMENTS, TEST, TRAIN
from tests.examples.conftest import EXAMPLE


@pytest.fixture
def made(monkeypatch, samples):
    """Run the program with these options; returns the client that it has made and run."""
    clients, threads = [], []

    class Client(fl_client.Client):
        def __init__(self, **options):
            super().__init__(**options)
            self.options, self.threads = options, threads
            clients.append(self)

        def run(self, **options):
            self.options |= options

    monkeypatch.setattr("fl_client.Client", Client)
    monkeypatch.setattr("torch.set_num_threads", threads.append)

    def run(*options):
        monkeypatch.setattr("sys.argv", ["client.py", str(samples), *options])
        runpy.run_path(str(EXAMPLE / "client.py"), run_name="__main__")
        return clients[-1]

    return run


def asked(client, kind, model, **options):
    return client._complete()[kind](model, Job(kind, "t", "m", 0, **options))


def test_it_registers_pulls_and_takes_one_thread(made):
    client = made("--name", "alice")
    assert (client.options["name"], client.options["register"]) == ("alice", True)
    assert (client.options["listen"], client.options["once"]) == (None, False)
    assert client.threads == [1]


def test_with_a_port_it_is_posted_to_on_this_machine(made):
    assert made("--name", "alice", "--port", "0").options["listen"] == ("127.0.0.1", 0)


def test_threads_a_token_and_one_training_alone_are_asked_for(made):
    client = made("--token", "secret", "--threads", "3", "--once")
    assert (client.options["token"], client.options["once"]) == ("secret", True)
    assert client.threads == [3]


def test_it_is_somebody(made):
    for who in ((), ("--name", "alice", "--token", "secret")):
        with pytest.raises(SystemExit):
            made(*who)


def test_an_update_is_the_trained_model_and_the_samples_that_it_saw(made):
    model = digits_net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained, samples = asked(made("--name", "alice"), TRAIN, model)
    assert samples == 8  # two of ten are held out
    after = trained.state_dict()
    assert not any(torch.equal(after[name], before[name]) for name in before)


def test_the_proximal_term_keeps_an_update_near_to_what_came(made):
    def moved(*options):
        torch.manual_seed(0)
        model = digits_net()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        asked(made("--name", "alice", *options), TRAIN, model)
        pairs = zip(model.parameters(), before, strict=True)
        return sum((now - then).square().sum().item() for now, then in pairs)

    assert moved("--proximal-mu", "3") < 0.7 * moved()


def test_moments_are_those_of_all_weights(made):
    first, second, samples = asked(made("--name", "alice", "--epochs", "2"), MOMENTS, digits_net())
    assert samples == 8
    assert first.keys() == second.keys() == digits_net().state_dict().keys()
    assert all(np.all(second[name] >= first[name] ** 2 - 1e-6) for name in first)


def test_accuracy_and_loss_are_those_on_the_samples_held_out(made, samples):
    model = digits_net().eval()
    with np.load(samples) as file:
        x, y = torch.from_numpy(file["x"][:2]), torch.from_numpy(file["y"][:2])
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model(x), y).item()
    found = asked(made("--name", "alice"), TEST, model)
    assert found.keys() == {"accuracy", "loss"}
    assert found["loss"] == pytest.approx(expected)
