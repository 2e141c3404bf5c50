"""Modules are admitted as their constructors make them, and harm nobody if they are changed."""

import subprocess
import sys
import warnings
from itertools import islice

import pytest
import torch
from torch import nn

from fl_archive.admission import admit_model
from fl_archive.admitted.pickled import ARGUMENTS, admitted
from fl_archive.constructors import RULES
from fl_archive.errors import ArchiveError, Refused
from tests.vision import import_torchvision

from .genuine import Genuine, genuine
from .hostile import mutated

import_torchvision()  # some of them are its transforms
ALL = genuine()
FORMER = {"proj_size": 0, "_qkv_same_embed_dim": True}  # what they meant without saying it


@pytest.fixture(autouse=True)
def _as_they_are(monkeypatch):
    """RNNs would put the weights that they are saved with in order."""

    def state(module):
        return {name: value for name, value in vars(module).items() if name != "_flat_weight_refs"}

    monkeypatch.setattr(nn.RNNBase, "__getstate__", state)
    with warnings.catch_warnings(action="ignore"):
        yield


def made(found: Genuine) -> nn.Module:
    torch.manual_seed(0)
    return found.make().eval()


def classes():
    return {
        (module, name)
        for module, name in admitted() - ARGUMENTS.keys()
        if module.startswith(("torch.nn.modules.", "torchvision.transforms.v2")) and name[0] != "_"
    }


def test_there_is_a_rule_for_every_class_that_may_be_named_and_no_other():
    assert RULES.keys() == {name for _, name in classes()}


def test_two_classes_of_one_name_have_nothing_to_check():
    names = [name for _, name in classes()]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"Identity"}
    assert not RULES["Identity"].attributes


def test_every_class_is_among_those_that_are_tried():
    tried = {(type(m).__module__, type(m).__name__) for g in ALL for m in made(g).modules()}
    by_hand = {("torchvision.transforms.v2._misc", "SanitizeKeyPoints")}  # holds a lambda
    assert classes() - tried == by_hand


@pytest.mark.parametrize("found", ALL, ids=lambda found: found.name)
def test_what_a_constructor_made_is_admitted(found, tmp_path):
    torch.save(made(found), tmp_path / "model")
    admit_model(tmp_path / "model", tmp_path / "admitted")


@pytest.mark.parametrize("found", ALL, ids=lambda found: found.name)
def test_what_older_versions_of_torch_did_not_write_may_be_missing(found, tmp_path):
    module = made(found)
    for part in module.modules():
        rule = RULES[type(part).__name__]
        late = {name for name, kind in rule.attributes.items() if kind.late} & vars(part).keys()
        for name in late:
            if vars(part)[name] == FORMER.get(name, vars(part)[name]):
                del vars(part)[name]
    torch.save(module, tmp_path / "model")
    admit_model(tmp_path / "model", tmp_path / "admitted")


def changes():
    for found in ALL:
        for what, change in mutated(made(found), RULES):
            yield found, what, change


def hostile(folder, step):
    """Of every `step`-th change those that are admitted, numbered in the folder; their names."""
    names = []
    for found, what, change in islice(changes(), 0, None, step):
        torch.save(change(), folder / "changed")
        try:
            admit_model(folder / "changed", folder / f"{len(names)}.pt")
        except ArchiveError:
            continue
        torch.save(found.inputs(), folder / f"{len(names)}.in")
        names.append(f"{found.name}: {what}")
    return names


def called(folder, first=0):
    """A process that calls the folder's modules from this one on, and which it called last."""
    command = [sys.executable, "-m", f"{__package__}.caller", str(folder), str(first)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done, int(done.stdout.split()[-1])


def lstm_of_single_elements():
    lstm = nn.LSTM(4, 3)
    for name in list(lstm._parameters):
        setattr(lstm, name, nn.Parameter(torch.ones(1)))
    return lstm


def attention_without_heads():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    layer.self_attn.num_heads = 0
    return layer


@pytest.mark.parametrize("make", [lstm_of_single_elements, attention_without_heads])
def test_a_changed_module_that_is_not_held_against_rules_ends_the_process(make, tmp_path):
    torch.save(make(), tmp_path / "0.pt")
    torch.save((torch.rand(2, 5, 4),), tmp_path / "0.in")
    done, _ = called(tmp_path)
    assert done.returncode < 0
    with pytest.raises(Refused):
        admit_model(tmp_path / "0.pt", tmp_path / "admitted")


def test_no_change_that_is_admitted_ends_the_process_that_calls_it(tmp_path, pytestconfig):
    """Of some 40,000 changes a sample; with `--long`, which takes half an hour, all."""
    step = 1 if pytestconfig.getoption("--long") else 199
    names, fatal, first = hostile(tmp_path, step), [], 0
    while first < len(names):
        done, last = called(tmp_path, first)
        fatal += [(names[last], done.returncode, done.stderr[-200:])] if done.returncode else []
        first = last + 1
    assert not fatal
