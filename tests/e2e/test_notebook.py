"""docs/tutorial.ipynb, its cells run one after another as somebody runs them."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

CELLS = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())["cells"]


def test_three_clients_in_a_notebook_learn_all_digits(embedded, tmp_path):
    code = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    mine = {"FL_URL": embedded, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", "\n\n".join(code)],
        cwd=tmp_path,
        env=os.environ | mine | {"XDG_STATE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"^accuracy on .+: (\d\.\d+)", done.stdout, re.MULTILINE)
    assert float(found[1]) > 0.6, done.stdout


def test_it_is_kept_without_what_it_printed():
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in CELLS)
