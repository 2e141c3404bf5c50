"""A backup made in the middle of a training, restored on another machine."""

import io
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import torch
from safetensors.torch import save

from tests.e2e.conftest import ROOT, running_server
from tests.e2e.people import Person
from tests.e2e.test_races import scripted

pytestmark = pytest.mark.e2e


def back_up(source, target):
    """Follow docs/backup.md: files, database, new files."""
    (source / "models" / "keep").touch()
    copy_files(source, target)
    with (
        closing(sqlite3.connect(source / "db.sqlite3")) as database,
        closing(sqlite3.connect(target / "db.sqlite3")) as copy,
    ):
        database.backup(copy)
    copy_files(source, target)
    (source / "models" / "keep").unlink()
    shutil.copy(source / "secret_key", target)


def copy_files(source, target):
    ignore = shutil.ignore_patterns("scratch")
    shutil.copytree(source / "models", target / "models", dirs_exist_ok=True, ignore=ignore)


def content(value):
    return save({"weight": torch.full((1, 2), value)})


def test_a_training_restored_from_a_backup_goes_on_to_its_end(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (new / "var").mkdir(parents=True)
    with running_server(old) as url:
        actor, first, second = (Person(url) for _ in range(3))
        model = actor.upload_model(scripted(0.0))
        training = actor.open_training(model, [first, second], 2)
        actor.start(training)
        for person in (first, second):
            person.await_notification("UPDATE_ROUND_START", 0)
        first.update(model, 0, content(1.0), expect=201)
        back_up(old / "var", new / "var")
        second.update(model, 0, content(3.0), expect=201)  # confirmed, and not in the backup
        for person in (first, second):
            person.await_notification("MODEL_TEST_ROUND", 1)
    with running_server(new) as url:
        command = [sys.executable, "manage.py", "ask_again", "--data-dir", new / "var"]
        subprocess.run(command, cwd=ROOT, check=True)
        for person in (actor, first, second):
            person.url, person.seen = url, []
        second.await_notification("UPDATE_ROUND_START", 0)
        second.update(model, 0, content(3.0), expect=201)
        for person in (first, second):
            person.await_notification("MODEL_TEST_ROUND", 1)
            person.report(model)
        for person in (first, second):
            person.await_notification("UPDATE_ROUND_START", 1)
            person.update(model, 1, content(5.0), expect=201)
        for person in (first, second):
            person.await_notification("MODEL_TEST_ROUND", 2)
            person.report(model)
        actor.await_notification("TRAINING_FINISHED")
        result = torch.jit.load(io.BytesIO(actor.ask("GET", f"/models/{model}/")))
        assert torch.equal(result.weight, torch.full((1, 2), 5.0))
