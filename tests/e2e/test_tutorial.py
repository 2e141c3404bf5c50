"""docs/tutorial.md, as somebody goes through it."""

import re

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.test_readme import paste
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
FILE_OR_COMMANDS = re.compile(
    r"`(mine/\w+\.py)`:\n\n```python\n(.*?)```|```sh\n(.*?)```", re.DOTALL
)


def typed():
    """Return all that is saved and run after the server's start, in order."""
    _server, *steps = FILE_OR_COMMANDS.findall(TEXT)
    return "".join(
        f"cat > {name} <<'END'\n{content}END\n" if name else commands
        for name, content, commands in steps
    )


def test_two_clinics_train_a_model_of_their_own(embedded, tmp_path):
    commands = typed().replace("--rounds 5", f"--rounds 5 --wait {PATIENCE}")
    said = paste(commands, tmp_path, embedded)
    last = re.search(r"^round 5: accuracy (\d\.\d+)", said, re.MULTILINE)
    assert last, said
    assert float(last[1]) > 0.85
    assert re.search(r"^class [01]$", said, re.MULTILINE)
