"""The tables of docs/settings.md are what fl_server/variables.py declares.

`pytest tests/server/test_settings_docs.py --write-docs` writes them anew.
"""

import re

import pytest

from fl_server import env
from tests.compose import ROOT

DOCUMENT = ROOT / "docs" / "settings.md"
README = (ROOT / "README.md").read_text()
NAMES = [name for section in env.declared.values() for each in section for name in each.names]


def table(heading):
    head = r"\| variable \| meaning \| default \|\n\| --- \| --- \| --- \|\n"
    return re.compile(rf"(?<=^## {heading}\n)((?:(?!## ).*\n)*?{head})((?:\|.*\n)*)", re.MULTILINE)


def rendered(section):
    return "".join(
        f"| {', '.join(f'`{name}`' for name in each.names)} | {each.meaning} | {each.default} |\n"
        for each in section
    )


def test_each_section_has_its_heading():
    headings = re.findall(r"^## (.*)", DOCUMENT.read_text(), re.MULTILINE)
    assert headings == list(env.declared)


@pytest.mark.parametrize("heading", env.declared)
def test_its_table_is_what_is_declared(pytestconfig, heading):
    text, rows = DOCUMENT.read_text(), rendered(env.declared[heading])
    if pytestconfig.getoption("--write-docs"):
        text = table(heading).sub(lambda found: found[1] + rows, text)
        DOCUMENT.write_text(text)
    assert table(heading).search(text)[2] == rows


def test_each_variable_is_declared_once_and_means_something():
    assert len(NAMES) == len(set(NAMES)) > 90
    assert all(each.meaning for section in env.declared.values() for each in section)


def test_the_readme_names_settings_that_there_are():
    rows = re.findall(r"^\| (`(?:FL|CORS|CSRF|OTEL|MLFLOW)_.*?) \|", README, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named
    assert named <= set(NAMES)


def test_nothing_else_of_the_server_reads_a_setting():
    """So the settings are the whole of it; tests and the demo only hand variables on."""
    reading = r"(environ|getenv).{0,10}[\"'](FL|CORS|CSRF|MLFLOW)_"
    reading += r"|\benv\.(text|secret|integer|size|boolean|choice|item|network)"
    for path in ROOT.glob("fl_server*/**/*.py"):
        if path.name not in ("variables.py", "env.py"):
            assert not re.search(reading, path.read_text()), path
