"""What is written for a download: an update as the actor's archive."""

import os
import threading
import time

import pytest

from fl_server_core import outgoing
from fl_server_core.models import LocalModel
from fl_server_core.written import KEPT_SECONDS, open_written
from tests.api.conftest import as_user, body_of
from tests.api.test_update import update


@pytest.fixture
def url(started, participant):
    """Where a participant's update lies."""
    assert update(as_user(participant), started.model_id).status_code == 201
    return f"/api/models/{LocalModel.objects.get().pk}/"


@pytest.fixture
def writes(monkeypatch):
    """The files that an update was written to."""
    targets, write = [], outgoing.write_model

    def count(template, target, values):
        targets.append(target)
        write(template, target, values)

    monkeypatch.setattr(outgoing, "write_model", count)
    return targets


def kept(settings):
    return sorted(settings.SCRATCH_DIR.iterdir())


def test_nothing_is_written_to_tell_of_an_update(client, url, writes):
    told = client.head(url)
    assert client.get(url, headers={"if-none-match": told["ETag"]}).status_code == 304
    assert client.head(url, headers={"range": "bytes=0-3"})["Content-Length"] == "4"
    assert not writes
    whole = client.get(url)
    assert (told["Content-Length"], told["ETag"]) == (whole["Content-Length"], whole["ETag"])
    assert len(body_of(whole)) == int(told["Content-Length"])


def test_an_update_is_written_once_for_all_its_parts(client, url, writes):
    whole = body_of(client.get(url))
    ranges = ({"range": f"bytes={at}-{at + 9}"} for at in range(0, 50, 10))
    parts = [body_of(client.get(url, headers=each)) for each in ranges]
    assert b"".join(parts) == whole[:50]
    assert len(writes) == 1


def test_what_is_kept_has_a_bound(settings):
    settings.FL_MAX_UPLOAD_BYTES = 10
    for number in range(5):
        open_written(str(number), lambda path: path.write_bytes(b"1234")).close()
    assert sum(path.stat().st_size for path in kept(settings)) == 8


def test_nothing_is_kept_for_long(settings):
    open_written("old", lambda path: path.write_bytes(b"1")).close()
    [old] = kept(settings)
    os.utime(old, (time.time() - KEPT_SECONDS - 1,) * 2)
    open_written("new", lambda path: path.write_bytes(b"1")).close()
    assert old not in kept(settings)
    assert len(kept(settings)) == 1


def test_what_is_too_large_to_keep_is_read_all_the_same(settings):
    settings.FL_MAX_UPLOAD_BYTES = 1
    with open_written("large", lambda path: path.write_bytes(b"1234")) as file:
        assert (file.read(), kept(settings)) == (b"1234", [])


def test_a_file_that_fails_leaves_nothing(settings):
    def fail(path):
        path.write_bytes(b"half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        open_written("tag", fail)
    assert kept(settings) == []


def test_of_many_who_ask_at_once_one_writes(settings):
    started, writes = threading.Barrier(8), []

    def write(path):
        writes.append(path)
        time.sleep(0.05)
        path.write_bytes(b"1")

    def ask():
        started.wait(10)
        open_written("tag", write).close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join(10) for thread in threads]
    assert len(writes) == 1


def test_what_is_written_may_be_made_of_what_is_written():
    def copy(path, source):
        with open_written(source, lambda target: target.write_bytes(b"1")) as file:
            path.write_bytes(file.read())

    def ask():
        for number in range(100):
            open_written(f"made of {number}", lambda path, n=number: copy(path, f"{n}")).close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
