"""Files that are no models: what is said of them leads on."""

import argparse
import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from fl_archive import other_objects
from fl_archive.admission import admit_model
from fl_archive.errors import UNEXPECTED, ArchiveError
from fl_archive.model import read_model

NET = nn.Sequential(nn.Linear(2, 2))
STATE = NET.state_dict()


class Custom(nn.Module):
    """Of a class that no server has heard of."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x, *more, **options):
        return self.layer(x)


def saved(thing, **options):
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


def arrays(save):
    file = io.BytesIO()
    save(file, np.ones(3))
    return file.getvalue()


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, saved(STATE) if "." in name else b"")
    return file.getvalue()


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pt"))
    return file.getvalue()


def refusal(data, tmp_path):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        admit_model(tmp_path / "file", tmp_path / "admitted")
    assert str(caught.value).isprintable()
    return caught.value


FOREIGN = {
    **{f"pickle {p}": (pickle.dumps([[0.0, 1.0]], p), "torch.save") for p in (2, 3, 4, 5)},
    **{f"pickle {p} of arrays": (pickle.dumps(np.ones(3), p), "torch.save") for p in (2, 5)},
    "json": (json.dumps({"weight": [1, 2]}).encode(), "is text"),
    "json like safetensors": (b'[[1,2],[{"a": 1}]]', "is text"),
    "a page": (b"<!DOCTYPE html>\n<html>", "is text"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "gzip": (gzip.compress(saved(STATE)), "compressed by gzip: send what is in it"),
    "bzip2": (bz2.compress(saved(STATE)), "compressed by bzip2: send what is in it"),
    "xz": (lzma.compress(saved(STATE)), "compressed by xz: send what is in it"),
    **{f"zlib {n}": (zlib.compress(b"x" * 99, n), "joblib") for n in (0, 3, 6, 9)},
    "tar": (tarred(), "tar archive: send what is in it"),
    "zip": (zipped("model.pt"), "around a model's: send what is in it"),
    "zip of a folder": (
        zipped("folder/", "folder/model.pth"),
        "around a model's: send what is in it",
    ),
    "zip of others": (zipped("a.doc", "b.doc"), "holds no torch object"),
    "npz": (arrays(np.savez), "numpy arrays"),
    "npy": (arrays(np.save), "numpy array"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "Keras"),
    "onnx": (b"\x08\x08\x12\x07pytorch" + bytes(99), "ONNX"),
    "anything": (bytes(99), "neither a torch nor a safetensors file: save it by torch.save"),
}


@pytest.mark.parametrize(("data", "advice"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_kind_is_named_with_what_to_do(data, advice, tmp_path):
    sentence = str(refusal(data, tmp_path))
    assert advice in sentence
    assert "torch.save" in sentence or "git" in sentence
    assert "zip format" not in sentence


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_only_torchs_own_old_files_are_called_old(protocol, tmp_path):
    data = saved(STATE, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    assert "before torch's zip format (1.6): save it again" in str(refusal(data, tmp_path))


# --- Checkpoints -------------------------------------------------------------------------

ADAM = {"state": {0: {name: torch.ones(2) for name in ("step", "exp_avg", "exp_avg_sq")}}}
CHECKPOINTS = {
    "Lightning": (
        {
            "epoch": 1,
            "state_dict": {f"model.{name}": tensor for name, tensor in STATE.items()},
            "callbacks": {"EarlyStopping": {"best_score": torch.ones(())}},
            "optimizer_states": [ADAM],
            "hyper_parameters": argparse.Namespace(width=2),
        },
        "checkpoint['state_dict']",
    ),
    "plain": (
        {"loss": 0.1, "optimizer_state_dict": ADAM, "model_state_dict": STATE},
        "checkpoint['model_state_dict']",
    ),
    "model": ({"model": STATE, "args": None}, "checkpoint['model']"),
    "net": ({"net": dict(STATE), "acc": 9.5, "epoch": 3}, "checkpoint['net']"),
    "YOLO": ({"epoch": 1, "model": Custom(), "ema": None}, "checkpoint['model'].state_dict()"),
    "deeper": ({"a": {"b": {"c": STATE}}}, "checkpoint['a']['b']['c']"),
    "a pair": ((STATE, ADAM), "checkpoint[0]"),
}


@pytest.mark.parametrize(("thing", "inside"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_is_told_where_its_state_dict_is(thing, inside, tmp_path):
    sentence = str(refusal(saved(thing), tmp_path))
    assert f"Send that state dict alone: torch.save({inside}, file)." in sentence
    alone = eval(inside, {"checkpoint": thing})  # what the sentence says to send
    torch.save(alone, tmp_path / "alone")
    with read_model(tmp_path / "alone") as archive:
        assert archive.format == "state_dict"


@pytest.mark.parametrize("entry", [3, {"best": torch.ones(1)}])
def test_an_entry_that_is_no_tensor_is_named(entry, tmp_path):
    sentence = str(refusal(saved(STATE | {"epoch": entry}), tmp_path))
    assert sentence == "Entry 'epoch' is no tensor: send model.state_dict() without."


@pytest.mark.parametrize("thing", [[1], list(STATE.values()), {"w": np.ones(3)}, 3.5])
def test_other_objects_are_told_what_an_update_is(thing, tmp_path):
    error = refusal(saved(thing), tmp_path)
    assert str(error) == UNEXPECTED
    assert "torch.save(model.state_dict(), file)" in error.advice


def test_keys_are_shown_without_control_characters(tmp_path):
    sentence = str(refusal(saved({"\x1b[2J'": STATE}), tmp_path))
    assert "x1b" in sentence


def test_a_checkpoint_that_means_the_same_a_thousand_times_is_looked_at_once(tmp_path, monkeypatch):
    looked = []
    real = other_objects.is_tensor
    monkeypatch.setattr(other_objects, "is_tensor", lambda it: looked.append(it) or real(it))
    large = {f"{number}": 1 for number in range(1000)}
    refusal(saved({f"{number}": large for number in range(1000)}), tmp_path)
    assert len(looked) < 5000


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path):
    loop: dict[str, object] = {"a": [1]}
    loop["self"] = loop
    assert str(refusal(saved(loop), tmp_path)) == UNEXPECTED


# --- New models --------------------------------------------------------------------------


def test_a_class_of_ones_own_is_to_be_traced(tmp_path):
    sentence = str(refusal(saved(Custom()), tmp_path))
    assert "Custom', which is not admitted here" in sentence
    assert "torch.jit.trace(model, example_input)" in sentence
    assert sentence.index("torch.jit.trace") < sentence.index("torch.jit.script")
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        torch.jit.trace(Custom(), torch.rand(1, 2)).save(tmp_path / "traced")
    admit_model(tmp_path / "traced", tmp_path / "admitted")
