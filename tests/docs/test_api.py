"""docs/api.md lists what the OpenAPI document has.

`pytest tests/docs/test_api.py --write-docs` writes the list anew.
"""

import re

from drf_spectacular.generators import SchemaGenerator

from tests.compose import ROOT

DOCUMENT = ROOT / "docs" / "api.md"
TABLE = re.compile(r"(?<=\| request \| what it does \|\n\| --- \| --- \|\n)(?:\|.*\n)*")


def lines():
    for path, methods in SchemaGenerator().get_schema(public=True)["paths"].items():
        named = re.sub(r"\{\w+\}", "<id>", path)
        for method, operation in methods.items():
            yield f"| `{method.upper()} {named}` | {operation['summary']} |\n"


def test_the_list_is_the_schemas(pytestconfig):
    text, rendered = DOCUMENT.read_text(), "".join(lines())
    if pytestconfig.getoption("--write-docs"):
        text = TABLE.sub(lambda _: rendered, text)
        DOCUMENT.write_text(text)
    assert TABLE.search(text)[0] == rendered
