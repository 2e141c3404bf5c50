"""What a serving worker says when it starts."""

import pytest

from fl_server_ai.inference.runner.cage import LAYERS, Report
from fl_server_ai.inference.start import tell

HELD = dict.fromkeys(LAYERS, "so")


@pytest.mark.parametrize(
    ("setting", "report", "level", "said"),
    [
        ("require", Report(HELD), "INFO", "models run in a cage; holding: privileges (so)"),
        ("warn", Report(HELD), "INFO", "models run in a cage"),
        ("require", Report(missing={"files": "no Landlock"}), "ERROR", "no model is run"),
        ("warn", Report(missing={"files": "no Landlock"}), "WARNING", "missing: files (no Landl"),
    ],
)
def test_it_says_what_holds_and_what_follows(settings, caplog, setting, report, level, said):
    settings.FL_CAGE = setting
    caplog.set_level("INFO")
    tell(report)
    [record] = caplog.records
    assert record.levelname == level
    assert said in record.getMessage()
