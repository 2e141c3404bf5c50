"""A backup made in the middle of a training, restored on another machine."""

import io
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save

from tests.docs.pages import commands
from tests.e2e.conftest import ROOT, running_server
from tests.e2e.people import Person
from tests.e2e.production import DATABASE
from tests.e2e.test_races import scripted
from tests.servers import PASSWORD

pytestmark = pytest.mark.e2e

BACK_UP, DUMP, RESTORE = commands("docs/backup.md")


def paste(command, folder, **variables):
    """Run commands of the page in this folder."""
    subprocess.run(["bash", "-ec", command], cwd=folder, env=os.environ | variables, check=True)


def content(value):
    return save({"weight": torch.full((1, 2), value)})


def test_a_training_restored_from_a_backup_goes_on_to_its_end(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with running_server(old) as url:
        actor, first, second = (Person(url) for _ in range(3))
        model = actor.upload_model(scripted(0.0))
        training = actor.open_training(model, [first, second], 2)
        actor.start(training)
        for person in (first, second):
            person.await_notification("UPDATE_ROUND_START", 0)
        first.update(model, 0, content(1.0), expect=201)
        paste(BACK_UP, old)
        second.update(model, 0, content(3.0), expect=201)  # confirmed, and not in the backup
        for person in (first, second):
            person.await_notification("MODEL_TEST_ROUND", 1)
    (old / "backup").rename(new / "var")
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


def test_a_dump_of_postgresql_has_everything_and_goes_into_an_empty_database(production, tmp_path):
    Person(production.url)
    (tmp_path / "backup").mkdir()
    postgres = production.postgres
    postgres.database("restored")
    address = f"postgresql://fl@127.0.0.1:{postgres.port}"
    paste(DUMP, tmp_path, DATABASE=f"{address}/{DATABASE}", PGPASSWORD=PASSWORD)
    paste(RESTORE, tmp_path, DATABASE=f"{address}/restored", PGPASSWORD=PASSWORD)
    assert users(postgres, "restored") == users(postgres, DATABASE) > 0


def users(postgres, database):
    with postgres.connect(database) as connection:
        return connection.execute("SELECT count(*) FROM fl_server_core_user").fetchone()[0]
