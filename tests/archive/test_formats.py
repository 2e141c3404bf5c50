"""What every format must do: know its own files, read their numbers, and refuse what is damaged.

A new format has a sample here. That of CONTRIBUTING.md is one of them.
"""

import io
import json
from contextlib import suppress

import numpy as np
import pytest
import safetensors.numpy
import torch

from fl_archive.disk import map_file
from fl_archive.errors import ArchiveError
from fl_archive.formats import FORMATS
from fl_archive.model import read_model
from tests.contributed.json_file import JSON

NUMBERS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bias": np.array([0.5, -1.0], np.float32),
}


def saved_by_torch():
    file = io.BytesIO()
    torch.save({name: torch.from_numpy(values) for name, values in NUMBERS.items()}, file)
    return file.getvalue()


SAMPLES = {
    "torch": saved_by_torch,
    "safetensors": lambda: safetensors.numpy.save(NUMBERS),
    "json": lambda: json.dumps({name: v.tolist() for name, v in NUMBERS.items()}).encode(),
}
"""By the format's name what makes a file of it that holds NUMBERS."""


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(FORMATS, "json", JSON)


def test_every_format_has_a_sample():
    assert SAMPLES.keys() == FORMATS.keys()


@pytest.fixture(params=SAMPLES)
def name(request):
    return request.param


@pytest.fixture
def sample(name):
    return SAMPLES[name]()


@pytest.fixture
def file(tmp_path, sample):
    path = tmp_path / "sample"
    path.write_bytes(sample)
    return path


def test_a_file_is_known_by_its_own_format_alone(name, file):
    raw = map_file(file)
    assert [known for known, form in FORMATS.items() if form.is_one(raw)] == [name]


def test_its_numbers_are_read(file):
    with read_model(file) as model:
        found = {
            spec.name: (spec.dtype, spec.shape, model.raw(spec.name).tobytes())
            for spec in model.tensors.values()
        }
    assert found == {name: ("F32", v.shape, v.tobytes()) for name, v in NUMBERS.items()}


def test_a_file_that_is_open_is_read_as_well(file):
    with file.open("rb") as opened, read_model(opened) as model:
        assert model.tensors.keys() == NUMBERS.keys()


def test_a_file_that_was_cut_off_is_refused(sample, file):
    for size in (*range(9), *range(9, len(sample), 1 + len(sample) // 60)):
        file.write_bytes(sample[:size])
        with pytest.raises(ArchiveError):
            read_model(file)


def test_a_byte_that_changed_is_refused_or_another_number(sample, file):
    for place in range(0, len(sample), 1 + len(sample) // 200):
        changed = bytearray(sample)
        changed[place] ^= 0x55
        file.write_bytes(changed)
        with suppress(ArchiveError), read_model(file):
            pass
