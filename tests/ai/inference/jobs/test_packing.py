import io
import json
import math
import pickle

import pytest
import torch
from safetensors.torch import load, save

from fl_server_ai.failures import JobRefused
from fl_server_ai.inference.jobs.packing import pack
from fl_server_ai.inference.protocol import Pack

RESULT = {
    "inference": torch.tensor([[0.5, 1.0]]),
    "uncertainty.std": torch.tensor([[math.nan, math.inf]]),
}


@pytest.fixture
def packed():
    def call(form, result=None):
        return pack(Pack(io.BytesIO(save(result or RESULT)), form))

    return call


def test_json_has_null_for_what_it_lacks(packed):
    assert json.loads(packed("json")) == {
        "inference": [[0.5, 1.0]],
        "uncertainty": {"std": [[None, None]]},
    }


def test_a_pickle_holds_tensors_and_names_nothing_but_torchs(packed):
    answer = pickle.loads(packed("binary"))
    assert torch.equal(answer["inference"], RESULT["inference"])
    assert answer["uncertainty"]["std"].isnan().tolist() == [[True, False]]


def test_safetensors_hold_the_same(packed):
    answer = load(packed("safetensors"))
    assert answer.keys() == RESULT.keys()
    assert torch.equal(answer["inference"], RESULT["inference"])


def test_classes_stay_integers(packed):
    result = {"inference": torch.tensor([3, 1])}
    assert json.loads(packed("json", result)) == {"inference": [3, 1], "uncertainty": {}}


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"12345678{}"])
def test_what_is_no_safetensors_file_is_refused(content):
    with pytest.raises(JobRefused, match="can't be read"):
        pack(Pack(io.BytesIO(content), "binary"))
