"""The picture in docs/architecture.md is what the code imports.

`pytest tests/test_architecture.py --write-docs` draws it anew.
"""

import re
from itertools import permutations

import grimp

from tests.compose import ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
DIAGRAM = re.compile(r"(?<=graph TD\n).*?(?=```)", re.DOTALL)
PACKAGES = (
    "fl_server",
    "fl_server_api",
    "fl_server_ai",
    "fl_server_core",
    "fl_archive",
    "fl_client",
)
ROOMS = [
    "fl_server",
    "fl_server_api",
    "fl_server_ai.aggregation",
    "fl_server_ai.cleanup",
    "fl_server_ai.enqueue",
    "fl_server_ai.failures",
    "fl_server_ai.inference",
    "fl_server_ai.notification",
    "fl_server_ai.sweeper",
    "fl_server_ai.tasks",
    "fl_server_ai.tracking",
    "fl_server_ai.trainer",
    "fl_server_ai.uncertainty",
    "fl_server_core",
    "fl_archive",
    "fl_client",
]


def room_of(module):
    """Return the smallest room that holds a module."""
    holding = [room for room in ROOMS if f"{module}.".startswith(f"{room}.")]
    return max(holding, key=len, default=None)


def drawn():
    graph = grimp.build_graph(*PACKAGES)
    found = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            found.add((room_of(module), room_of(imported)))
    pairs = [(one, other) for one, other in permutations(ROOMS, 2) if (one, other) in found]
    return "".join(f"    {name(one)} --> {name(other)}\n" for one, other in sorted(pairs))


def name(room):
    return room.removeprefix("fl_server_ai.")


def test_the_picture_is_what_is_imported(pytestconfig):
    text = DOCUMENT.read_text()
    if pytestconfig.getoption("--write-docs"):
        text = DIAGRAM.sub(drawn(), text)
        DOCUMENT.write_text(text)
    assert DIAGRAM.search(text)[0] == drawn()


def test_every_file_that_is_named_exists():
    text = DOCUMENT.read_text()
    for path in re.findall(r"`(fl_\w+/[\w/]*(?:\.py)?)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(
        r"`((?:trainer|aggregation|notification|tracking|uncertainty|inference)/[\w/]*(?:\.py)?)`",
        text,
    ):
        assert (ROOT / "fl_server_ai" / path).exists(), path
