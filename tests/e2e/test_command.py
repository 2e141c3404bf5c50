"""The command `fl` from its first word to the last, as docs/client.md has it, and for programs."""

import gzip
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from fl_client.command import fl as command
from tests.e2e.clients import users_of, zeros
from tests.e2e.conftest import ROOT
from tests.e2e.tiny import scripted
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e


@pytest.fixture
def users(tmp_path, embedded):
    with users_of(tmp_path, embedded) as started:
        yield started


@pytest.fixture
def fl(users, tmp_path, monkeypatch):
    """Run `fl … --json` in a folder of the test's; returns what it prints."""
    for name, value in users.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def called(*arguments, code=0):
        result = CliRunner().invoke(command, [*map(str, arguments), "--json"])
        assert result.exit_code == code, result.output
        if arguments[0] == "watch":
            return [json.loads(line) for line in result.stdout.splitlines()]
        return json.loads(result.stdout or result.stderr)

    return called


def test_a_model_goes_its_whole_way_by_commands(users, fl, tmp_path):
    users.start("alice", 1), users.start("bob", 3)
    (tmp_path / "net.safetensors").write_bytes(zeros())
    (tmp_path / "code.pt").write_bytes(scripted(0.0))
    save_file({"input": np.ones((1, 2), "f4")}, tmp_path / "input")
    fl("register", users.name("ada"))
    code = ("--serving", "code.pt", "--input-shape", "null,2")
    model = fl("upload", "net.safetensors", *code)["model_id"]
    names = f"{users.name('alice')},{users.name('bob')}"
    plan = ("--rounds", 2, "--metric", "accuracy", "--option", "round.quorum=2")
    training = fl("train", "--model", model, "--clients", names, *plan)["training_id"]
    last = fl("watch", training)[-1]
    assert (last["id"], last["state"]) == (training, "C")
    assert last["metrics"] == {"accuracy": {"1": 0.5, "2": 0.5}}
    assert {(row["key"], row["step"]) for row in fl("metrics")} == {
        ("accuracy", 1),
        ("accuracy", 2),
    }
    assert fl("predict", "input", "--model", training)["inference"] == [0]
    fl("export", model, "out.safetensors")
    assert load_file(tmp_path / "out.safetensors")["weight"].tolist() == [[4, 4]]
    assert fl("doctor", "--model", model)["model"]["ok"]
    assert [row["round"] for row in fl("list", "checkpoints")] == [0, 1, 2]
    assert "not running" in fl("stop", code=1)["error"]


def paste(page, users, folder):
    """Run a page's commands around `fl train` in a folder; return what the terminal shows."""
    blocks = re.findall(r"```bash\n(.+?)```", (ROOT / page).read_text(), re.DOTALL)
    [commands] = [block for block in blocks if "fl train" in block]
    commands = re.sub(r"\b(alice|bob|carol|ada)\b", rf"{folder.name}-\1", commands)
    commands = commands.replace("--rounds", f"--wait {PATIENCE} --rounds")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv").symlink_to(sys.prefix)
    script = f'fl() {{ python -m fl_client "$@"; }}\nset -e\n{commands}\nkill $(jobs -p) || true'
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=os.environ | users.environment | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_tutorial_trains_three_clients(users, tmp_path):
    write_digits(tmp_path / "mnist")
    said = paste("docs/client.md", users, tmp_path)
    assert "round 3: accuracy" in said, said
    trained, begun = load_file(tmp_path / "trained.safetensors"), torch.load(tmp_path / "cnn.pt")
    assert trained.keys() == begun.keys()
    assert not np.array_equal(trained["0.weight"], begun["0.weight"].numpy())


def test_adapters_alone_make_a_transformer_learn_what_no_client_knows(users, tmp_path):
    said = paste("examples/lora/README.md", users, tmp_path)
    last = re.search(r"^round 5: accuracy (\d\.\d+)", said, re.MULTILINE)
    assert float(last[1]) > 0.8, said
    adapted = load_file(tmp_path / "adapted.safetensors")
    begun = torch.load(tmp_path / "transformer.pt")
    changed = {name for name in begun if not np.array_equal(adapted[name], begun[name].numpy())}
    assert changed == {name for name in begun if "lora_" in name}


def write_digits(folder):
    """Write sixty images of noise as MNIST is written."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images, digits = dice.bytes(16 + 60 * 784), bytes(8) + bytes(dice.integers(0, 10, 60, "u1"))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(digits))
