"""docs/settings.md tells of every variable that the settings read, and of no other."""

import ast
import re

from tests.compose import ROOT

READERS = ("text", "secret", "secrets", "integer", "boolean", "choice", "items", "networks")
DOCS = (ROOT / "docs" / "settings.md").read_text()
README = (ROOT / "README.md").read_text()


def read_by_settings():
    names = set()
    for node in ast.walk(ast.parse((ROOT / "fl_server" / "settings.py").read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name("env"), attr=reader),
                args=[ast.Constant(name), *_],
            ) if reader in READERS:
                names |= {name, f"{name}_FILE"} if reader.startswith("secret") else {name}
    return names


def described(text):
    rows = re.findall(r"^\| (`(?:FL|CORS|CSRF|OTEL|MLFLOW)_.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_every_setting_is_described_once_and_no_other():
    assert len(read_by_settings()) > 40
    assert sorted(described(DOCS)) == sorted(read_by_settings())


def test_the_readme_names_settings_that_there_are():
    assert described(README)
    assert set(described(README)) <= read_by_settings()


def test_nothing_else_of_the_server_reads_a_setting():
    """So the settings are the whole of it; tests and the demo only hand variables on."""
    for path in ROOT.glob("fl_server*/**/*.py"):
        if path.name not in ("settings.py", "env.py"):
            assert not re.search(
                r"(environ|getenv).{0,10}[\"'](FL|CORS|CSRF|MLFLOW)_", path.read_text()
            )
