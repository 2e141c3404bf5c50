import hashlib
import os
import time
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db.models import FileField

from fl_server_core.files import (
    let_go,
    local_path,
    named_or_gone,
    remove_orphans,
    scratch_folder,
    scratch_path,
    store,
    take,
)
from tests.factories import ModelFactory


def stored(content=b"model"):
    with scratch_path() as path:
        path.write_bytes(content)
        return store(path)


def make_old(path):
    two_hours_ago = time.time() - 7200
    os.utime(path, (two_hours_ago, two_hours_ago))


def test_a_stored_file_keeps_its_bytes_under_a_fresh_name():
    first, second = stored(), stored()
    assert first.name != second.name
    assert (first.sha256, first.size) == (hashlib.sha256(b"model").hexdigest(), 5)
    assert Path(default_storage.path(first.name)).read_bytes() == b"model"


def test_storing_moves_the_file_and_leaves_no_scratch(settings):
    with scratch_path() as path:
        path.write_bytes(b"model")
        inode = path.stat().st_ino
        file = store(path)
    assert os.stat(default_storage.path(file.name)).st_ino == inode
    assert list(settings.SCRATCH_DIR.iterdir()) == []


def test_scratch_is_removed_when_work_on_it_fails(settings):
    def fail():
        with scratch_path() as path:
            path.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(settings.SCRATCH_DIR.iterdir()) == []


def test_a_row_leads_to_its_file(db):
    model = ModelFactory(file=stored(b"bytes").name)
    with local_path(model.file) as path:
        assert path.read_bytes() == b"bytes"


def test_a_file_whose_block_fails_stays_only_if_a_row_names_it(db):
    named, unnamed = stored(), stored()
    ModelFactory(file=named.name)
    with pytest.raises(ZeroDivisionError), named_or_gone(named, unnamed):
        raise ZeroDivisionError
    assert default_storage.exists(named.name)
    assert not default_storage.exists(unnamed.name)


def test_what_is_let_go_stays_while_any_row_names_it(
    db, django_assert_num_queries, django_capture_on_commit_callbacks
):
    model, numbers = ModelFactory(), {"round": 0, "attempt": 0, "size": 1}
    checkpoint = model.checkpoints.create(**numbers)
    moments = model.moments.create(owner=model.owner, sample_size=1, **numbers)
    named, unnamed = [], stored().name
    for row in (model, checkpoint, moments):
        for field in (field for field in row._meta.fields if isinstance(field, FileField)):
            named.append(stored().name)
            setattr(row, field.name, named[-1])
        row.save()
    with django_assert_num_queries(1), django_capture_on_commit_callbacks(execute=True):
        let_go([*named, unnamed, "", None])
    assert all(map(default_storage.exists, named))
    assert not default_storage.exists(unnamed)


def test_no_row_is_asked_for_a_file_whose_block_ends_well():
    with named_or_gone(file := stored()):  # a test without `db` may ask none
        pass
    assert default_storage.exists(file.name)


def test_orphans_go_after_an_hour_and_named_files_stay(db, settings):
    named, preprocessing, fresh, old = stored(), stored(), stored(), stored()
    ModelFactory(file=named.name, preprocessing_file=preprocessing.name)
    scratch = settings.SCRATCH_DIR / "left-behind"
    scratch.touch()
    for path in (*map(default_storage.path, (named.name, preprocessing.name, old.name)), scratch):
        make_old(path)
    assert remove_orphans() == 2
    assert not scratch.exists()
    assert set(default_storage.listdir("")[1]) == {named.name, preprocessing.name, fresh.name}


def test_a_scratch_folder_is_gone_afterwards_and_one_left_behind_later(db, settings):
    with scratch_folder() as folder:
        (folder / "file").touch()
    assert not folder.exists()
    left = settings.SCRATCH_DIR / "left"
    left.mkdir()
    (left / "file").touch()
    make_old(left)
    assert remove_orphans() == 1
    assert not left.exists()


def test_a_file_that_is_taken_has_no_name_any_more():
    name = stored(b"answer").name
    with take(name) as file:
        assert not default_storage.exists(name)
        assert file.read() == b"answer"
