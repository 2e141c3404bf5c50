"""A sample of what `python -m benchmarks.families` tries of whole libraries."""

import sys

import pytest

from benchmarks.families import __main__ as families
from benchmarks.families import torch_nn
from benchmarks.families.trying import ADMITTED, attempts

ALL = {family.name: family for family in torch_nn.families()}
SAMPLE = [
    *("Conv2d", "BatchNorm1d", "GELU", "LayerNorm", "Embedding", "Upsample, bicubic"),
    *("LSTM, bidirectional", "LSTMCell", "GRUCell", "MultiheadAttention", "TransformerEncoder"),
    *("Transformer", "CrossEntropyLoss"),
]
NOT_BY_TORCH = {("LSTM, bidirectional", "scripted")}  # alone, it loses its forward


@pytest.mark.parametrize("name", SAMPLE)
def test_a_family_is_admitted_in_each_way_of_saving(name):
    for way, outcome in attempts(ALL[name]):
        expected = "not by torch" if (name, way) in NOT_BY_TORCH else ADMITTED
        assert outcome.verdict == expected, (way, outcome.why)


def test_a_library_that_is_not_installed_is_skipped(monkeypatch, capsys):
    monkeypatch.setitem(families.LIBRARIES, "nothing", "nothing")
    monkeypatch.setattr(sys, "argv", ["families", "nothing"])
    families.main()
    assert "nothing is skipped: No module named" in capsys.readouterr().out
