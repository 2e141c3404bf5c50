"""docs/rounds.md describes the options that there are."""

import json
import re
from pathlib import Path

import pytest

from fl_server_api.serializers.options import (
    CheckpointOptionsSchema,
    OptionsSchema,
    RoundOptionsSchema,
)

TEXT = (Path(__file__).parents[2] / "docs" / "rounds.md").read_text()


@pytest.mark.parametrize("schema", [RoundOptionsSchema, CheckpointOptionsSchema])
def test_a_table_has_a_line_for_each_option(schema):
    described = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert set(schema().fields) <= described


def test_the_example_is_valid():
    example = json.loads(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1])["options"]
    assert set(OptionsSchema().load(example)) == {"round", "checkpoints"}
