"""How pages write times, durations and numbers."""

from datetime import datetime, timedelta, timezone

import pytest

from fl_server_api.templatetags.pages import duration, moment, number


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "\N{EN DASH}"),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7260, "2 h 01 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_durations(seconds, written):
    took = None if seconds is None else timedelta(seconds=seconds)
    assert duration(took) == written


@pytest.mark.parametrize(
    ("value", "written"), [(None, "\N{EN DASH}"), (0.5, "0.5"), (1 / 3, "0.3333"), (1e21, "1e+21")]
)
def test_numbers(value, written):
    assert number(value) == written


def test_times_are_machine_readable():
    when = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert moment(when, "deadline") == (
        '<time datetime="2026-01-02T03:04:05+00:00" data-kind="deadline">'
        "2026-01-02 03:04:05 UTC</time>"
    )
    assert moment(None) == "\N{EN DASH}"
