"""docs/options.md is what the options' classes say, a table in docs/uncertainty.md the registry.

`pytest tests/api/test_docs.py --write-docs` writes them anew.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import fields

from fl_server_ai.aggregation.strategies import STRATEGIES
from fl_server_ai.uncertainty.registry import METHODS
from fl_server_api.serializers.options import OptionsSchema
from fl_server_core.options import TrainingOptions, default_of, is_group, types_of
from tests.compose import ROOT

DOCUMENT = ROOT / "docs" / "options.md"
HEAD = """# Options of a training

What `options` of `POST /api/trainings/` may say. Keys that aren't known are kept for the clients
and named in the answer; in `round` and `checkpoints` they are refused: a misspelt deadline would
never come. A share is a number from 1 on, or a fraction below 1, rounded up. More about
[rounds](rounds.md), [aggregation methods](aggregation.md) and [uncertainty](uncertainty.md).

| option | default | meaning |
| --- | --- | --- |
"""

STRATEGIES_HEAD = """
Some aggregation methods have options of their own; others are refused.

| `aggregation_method` | option | default | meaning |
| --- | --- | --- | --- |"""


def lines(group, path="") -> Iterator[str]:
    kinds = types_of(group)
    for option in fields(group):
        name, kind = f"{path}{option.name}", kinds[option.name]
        yield f"| `{name}` | {default_of(option)} | {option.metadata['words']} |"
        if is_group(kind):
            yield from lines(kind, f"{name}.")


def of_strategies() -> Iterator[str]:
    for name, strategy in STRATEGIES.items():
        for line in lines(strategy.Options, "aggregation."):
            yield line.replace("| ", f"| {name} | ", 1)


def test_the_document_has_every_option(pytestconfig):
    rendered = HEAD + "\n".join([*lines(TrainingOptions), STRATEGIES_HEAD, *of_strategies()]) + "\n"
    if pytestconfig.getoption("--write-docs"):
        DOCUMENT.write_text(rendered)
    assert DOCUMENT.read_text() == rendered


def test_the_document_has_every_uncertainty_method(pytestconfig):
    document = ROOT / "docs" / "uncertainty.md"
    table = re.compile(r"(?<=\| method \| the passes \| `inference` \|\n).*?(?=\n\n)", re.DOTALL)
    rows = [f"| {name} | {how.passes} | {how.answer} |" for name, how in METHODS.items()]
    rendered = "\n".join(["| --- | --- | --- |", *rows])
    text = document.read_text()
    if pytestconfig.getoption("--write-docs"):
        text = table.sub(lambda _: rendered, text)
        document.write_text(text)
    assert table.search(text)[0] == rendered


def test_the_example_is_valid():
    text = (ROOT / "docs" / "rounds.md").read_text()
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])["options"]
    assert set(OptionsSchema().load(example)) == {"round", "checkpoints"}
    assert TrainingOptions.unknown(example) == []
