"""Clients in four languages train one model together, and what comes of it is right to the bit."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import load, load_file, save_file
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import from_numpy, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from tests.e2e.conftest import ROOT, needs_node
from tests.e2e.people import Person
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, needs_node]

EXAMPLES = ROOT / "examples"
ROUNDS = 3
CURL_SAMPLES = 77


def run(script, *arguments):
    subprocess.run([sys.executable, EXAMPLES / script, *map(str, arguments)], check=True)


@pytest.fixture
def folder(tmp_path):
    """Data for three clients, the model of zeros, and what the client by curl hands in."""
    run("digits/data.py", "--of", 3, tmp_path)
    run("numpy/prepare.py", tmp_path)
    dice = np.random.default_rng(0)
    shapes = {"bias": 10, "weight": (10, 64)}
    update = {name: dice.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    save_file(update, tmp_path / "curl.safetensors", {"made by": "a test"})
    return tmp_path


@contextmanager
def started(*command):
    with subprocess.Popen([*map(str, command)]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def processes(embedded, folder):
    """The clients that aren't of torch, by the names that they register under."""
    numpy, node, curl = (f"{folder.name}-{kind}" for kind in ("numpy", "node", "curl"))
    python, data = [sys.executable, EXAMPLES / "numpy/client.py"], folder / "client-1.safetensors"
    script, others = ["node", EXAMPLES / "javascript/client.mjs"], folder / "client-2.safetensors"
    fixed = [folder / "curl.safetensors", curl, CURL_SAMPLES]
    with (
        started(*python, embedded, data, "--name", numpy, "--keep", folder) as first,
        started(*script, embedded, others, "--name", node, "--keep", folder) as second,
        started(EXAMPLES / "curl/client.sh", embedded, *fixed) as third,
    ):
        yield {numpy: first, node: second, curl: third}


def registered(person, names):
    """Wait for users of these names; return which name an id is of."""

    def found():
        users = person.ask("GET", "/users/")
        ids = {user["id"]: user["username"] for user in users if user["username"] in names}
        return ids if len(ids) == len(names) else None

    return wait_until(found)


def train(person, model, number, folder):
    """Take part in a round with torch: take a step, and keep what is sent as the others do."""
    person.await_notification("UPDATE_ROUND_START", number)
    module = nn.Linear(64, 10)
    module.load_state_dict(load_tensors(person.ask("GET", f"/models/{model}/")))
    samples = load_file(folder / "client-3.safetensors")
    x, y = from_numpy(samples["x"]), from_numpy(samples["y"]).long()
    optimizer = SGD(module.parameters(), lr=0.5)
    cross_entropy(module(x), y).backward()
    optimizer.step()
    update = save_tensors(module.state_dict())
    (folder / f"torch-{number}.safetensors").write_bytes(update)
    person.update(model, number, update, sample_size=len(y), expect=201)


def mean(states, sizes):
    """The running mean of docs/aggregation.md in float32, by nothing but NumPy."""
    merged, total = states[0], sizes[0]
    for state, size in zip(states[1:], sizes[1:], strict=True):
        total += size
        share = np.float32(size / total)
        merged = {name: moved(merged[name], state[name], share) for name in merged}
    return merged


def moved(start, end, share):
    """Go a share of the way, from the nearer end, by a fused multiply-add.

    A product of two float32 numbers is exact in float64, so only the sum is rounded.
    """
    way = (end - start).astype(np.float64)
    if share < 0.5:
        return (start + way * share).astype(np.float32)
    return (end - way * (np.float32(1) - share)).astype(np.float32)


def test_the_mean_of_what_all_of_them_sent_is_right_to_the_bit(embedded, folder, processes):
    actor, torch_user = Person(embedded), Person(embedded)
    names = registered(actor, set(processes)) | {torch_user.id: "torch"}
    model = actor.upload_model((folder / "digits.safetensors").read_bytes())
    plan = {
        "model_id": model,
        "clients": list(names),
        "target_num_updates": ROUNDS,
        "metric_names": ["accuracy"],
        "aggregation_method": "FedAvg",
    }
    actor.start(actor.ask("POST", "/trainings/", json=plan)["training_id"])
    for number in range(ROUNDS):
        train(torch_user, model, number, folder)
        torch_user.await_notification("MODEL_TEST_ROUND", number + 1)
        torch_user.report(model)
    assert [process.wait(PATIENCE) for process in processes.values()] == [0, 0, 0]
    path = f"/models/{model}/checkpoints/"
    merges = [version for version in actor.ask("GET", path) if version["updates"]]
    assert len(merges) == ROUNDS
    for version in merges:
        updates = sorted(version["updates"], key=lambda update: update["sha256"])
        assert {update["owner"] for update in updates} == set(names)
        files = [sent(folder, names[update["owner"]], update["round"]) for update in updates]
        expected = mean([load_file(file) for file in files], [u["sample_size"] for u in updates])
        found = load(actor.ask("GET", f"{path}{version['id']}/"))
        assert {name: found[name].tobytes() for name in found} == {
            name: expected[name].tobytes() for name in expected
        }


def sent(folder, name, number):
    """The file that a client has kept of what it sent; curl's is always the same."""
    kept = folder / f"{name}-{number}.safetensors"
    return kept if kept.exists() else folder / "curl.safetensors"
