"""Another tracker is a class and a line: telling knows nothing of MLflow."""

import pytest

from fl_server_ai.tracking import registry
from fl_server_ai.tracking.tracker import RunState, Tracker


class Notebook(Tracker):
    """Keeps what it is told."""

    told = []

    def __init__(self, address):
        self.told.append(address)

    def open(self, run):
        self.told.append(run.key)
        return "page 1"

    def log(self, run, points, tags):
        self.told += [(run, point.name, point.step) for point in points]

    def keep(self, run, name, file):
        raise AssertionError("it takes no files")

    def mark(self, run, state, reason, at):
        self.told.append((run, state))

    def check(self):
        return "a notebook"

    def close(self):
        self.told.append("closed")


@pytest.fixture
def notebook(settings, monkeypatch):
    settings.FL_NOTEBOOK = "on the desk"
    monkeypatch.setattr(Notebook, "told", [])
    monkeypatch.setattr(registry, "TRACKERS", registry.TRACKERS | {"FL_NOTEBOOK": Notebook})
    return Notebook


def test_another_tracker_is_told_the_same(notebook, training, move, play, tell):
    training.target_num_updates = 1
    training.save()
    move("start")
    play(1)
    tell()
    address, key, *points, end, closed = notebook.told
    assert (address, key, closed) == ("on the desk", str(training.pk), "closed")
    assert ("page 1", "accuracy", 1) in points
    assert end == ("page 1", RunState.FINISHED)


def test_there_is_none_unless_a_setting_names_one(settings):
    settings.FL_MLFLOW_TRACKING_URI = ""
    assert registry.find_tracker() is None
    assert not registry.is_wanted()
