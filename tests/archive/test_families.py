"""A sample of what `python -m benchmarks.families` tries of whole libraries."""

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.families import __main__ as families
from benchmarks.families import torch_nn
from benchmarks.families.trying import ADMITTED, attempts

NEEDED = Path(__file__).parent / "admitted" / "needed.txt"
ALL = {family.name: family for family in torch_nn.families()}
SAMPLE = [
    *("Conv2d", "BatchNorm1d", "GELU", "LayerNorm", "Embedding", "Upsample, bicubic"),
    *("LSTM, bidirectional", "LSTMCell", "GRUCell", "MultiheadAttention"),
    *("TransformerEncoder", "Transformer", "EmbeddingBag"),
]
NOT_BY_TORCH = {
    ("LSTM, bidirectional", "scripted"),  # alone, it loses its forward
    ("GELU", "weights"),  # which has none
    ("Upsample, bicubic", "weights"),
}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_family_is_admitted_in_each_way_of_saving(name):
    for way, outcome in attempts(ALL[name]):
        expected = "not by torch" if (name, way) in NOT_BY_TORCH else ADMITTED
        assert outcome.verdict == expected, (way, outcome.why)


def test_a_loss_is_admitted_as_a_module_but_not_as_code():
    ways = ("traced", "scripted", "eager")
    found = attempts(ALL["CrossEntropyLoss"], ways=ways)
    verdicts = {way: outcome.verdict for way, outcome in found}
    assert verdicts == {"traced": "refused", "scripted": "refused", "eager": ADMITTED}


def test_the_operators_of_a_family_are_among_those_that_models_need():
    operators = defaultdict(set)
    list(attempts(ALL["TransformerEncoder"], operators))
    rows = NEEDED.read_text().splitlines()
    assert operators
    assert operators.keys() <= {row.partition(": ")[0] for row in rows}
    assert families.shown({"torch.nn": {"torch.add": {"B", "A"}}}) == "torch.add: torch.nn A (2)\n"


def test_a_library_that_is_not_installed_is_skipped(monkeypatch, capsys):
    monkeypatch.setitem(families.LIBRARIES, "nothing", "nothing")
    monkeypatch.setattr(sys, "argv", ["families", "nothing"])
    families.main()
    assert "nothing is skipped: No module named" in capsys.readouterr().out
