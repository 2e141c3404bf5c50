"""docs/reliability.md lists the faults that are tried."""

import re

from tests.compose import ROOT
from tests.faults.test_faults import FAULTS


def test_each_fault_is_described_and_no_other():
    table = (ROOT / "docs" / "reliability.md").read_text().split("## What was tried")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(FAULTS)
