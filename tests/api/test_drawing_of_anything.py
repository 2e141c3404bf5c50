"""What a model's process answers is drawn, whatever it is."""

import pytest

from fl_server_api.pages.drawing import draw

FINE = {"predictive_entropy": [0.1], "expected_entropy": [0.1], "mutual_info": [0.0]}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        "text",
        None,
        {"inference": [1]},
        {"inference": None, "uncertainty": [1]},
        {"inference": {"a": 1}, "uncertainty": {}},
        {"inference": [[10**400]], "uncertainty": {"std": [[1]]}},
        {"inference": [[10**400, 1]], "uncertainty": {"std": [[1, 1]]} | FINE},
        {"inference": [[1, 0]], "uncertainty": {"std": [[0, 0]]} | FINE | {"mutual_info": ["x"]}},
        {"inference": [[1]], "uncertainty": {"std": [[1e308]]}},
    ],
)
def test_no_answer_is_too_strange_to_be_shown(answer):
    drawn = draw(answer)
    assert drawn.kind in ("json", "numbers")
    assert drawn.text or drawn.inputs
