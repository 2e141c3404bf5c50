"""Model files in a bucket: stored, mapped, sent and tidied up as in a folder."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage

from fl_server_core import files
from fl_server_core.files import local_path, remove_orphans, scratch_path, store
from tests.api.conftest import as_user, body_of
from tests.compose import ROOT
from tests.factories import ModelFactory, UserFactory
from tests.servers import S3


@pytest.fixture(scope="module")
def s3():
    with S3() as server:
        yield server.bucket("models")


@pytest.fixture
def bucket(settings, s3):
    """The settings that the environment would make, and the folder that must stay empty."""
    storage = storage_of(s3)
    settings.STORAGES = settings.STORAGES | {"default": storage}
    for name in default_storage.listdir("")[1]:
        default_storage.delete(name)
    yield settings.MODEL_DIR
    assert list(settings.SCRATCH_DIR.iterdir()) == []


def storage_of(environment):
    """Let the settings be read with this environment, apart from those of the tests."""
    code = "import json; from fl_server.settings import STORAGES; print(json.dumps(STORAGES))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)["default"]


def stored(content=b"model"):
    with scratch_path() as path:
        path.write_bytes(content)
        return store(path)


def test_a_row_leads_to_a_local_copy_of_its_file(db, bucket):
    model = ModelFactory(file=stored(b"bytes" * 1_000_000).name)
    with local_path(model.file) as path:
        assert path.parent == bucket / "scratch"
        assert path.read_bytes() == b"bytes" * 1_000_000
    assert not path.exists()


def test_a_lost_file_is_not_found(db, bucket):
    model = ModelFactory(file="gone")
    with pytest.raises(FileNotFoundError), local_path(model.file):
        pass


def test_orphans_go_and_named_and_fresh_files_stay(db, bucket, monkeypatch):
    named, orphan = stored(), stored()
    ModelFactory(file=named.name)
    assert remove_orphans() == 0
    monkeypatch.setattr(files, "ORPHAN_AGE", timedelta(seconds=-60))
    assert remove_orphans() == 1
    assert default_storage.listdir("")[1] == [named.name]
    assert not default_storage.exists(orphan.name)


def test_a_download_comes_from_the_bucket(db, bucket):
    owner = UserFactory()
    file = stored(b"0123456789")
    model = ModelFactory(owner=owner, file=file.name, sha256=file.sha256, size=file.size)
    url = f"/api/models/{model.pk}/"
    assert body_of(as_user(owner).get(url)) == b"0123456789"
    assert body_of(as_user(owner).get(url, headers={"range": "bytes=2-4"})) == b"234"
    default_storage.delete(file.name)
    assert as_user(owner).get(url).status_code == 404
