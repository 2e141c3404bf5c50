"""Bodies that come compressed."""

import gzip
import json

import pytest
from backports import zstd

from fl_server_core.models import Model
from tests.api.conftest import files, make_module, saved

GROUPS = "/api/groups/"
GZIP, ZSTD = {"Content-Encoding": "gzip"}, {"Content-Encoding": "zstd"}
FORM = "multipart/form-data; boundary=b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'


def packed(content):
    return gzip.compress(content, mtime=0)


def post(client, content, kind="application/json", url=GROUPS, headers=GZIP):
    return client.generic("POST", url, content, content_type=kind, headers=headers)


def form(**fields):
    return b"".join(HEAD % (name.encode(), value) for name, value in fields.items()) + b"--b--\r\n"


@pytest.mark.parametrize(
    ("name", "pack"),
    [("gzip", packed), ("GZip", packed), (" x-gzip ", packed), ("zstd", zstd.compress)],
)
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", b'{"name": "g"}'),
        ("application/x-www-form-urlencoded", b"name=g"),
        (FORM, form(name=b"g")),
    ],
)
def test_a_compressed_body_is_read(client, name, pack, kind, content):
    response = post(client, pack(content), kind, headers={"Content-Encoding": name})
    assert (response.status_code, response.json()["name"]) == (201, "g")


@pytest.mark.parametrize("name", ["", "identity"])
def test_a_body_as_it_is_may_say_so(client, name):
    response = post(client, b'{"name": "g"}', headers={"Content-Encoding": name})
    assert response.status_code == 201


def test_several_streams_in_a_row_are_one_body(client):
    content = packed(b'{"name":') + packed(b' "g"}') + b"\0" * 8
    assert post(client, content).status_code == 201
    content = zstd.compress(b'{"name":') + zstd.compress(b' "h"}')
    assert post(client, content, headers=ZSTD).status_code == 201


@pytest.mark.parametrize(("pack", "headers"), [(packed, GZIP), (zstd.compress, ZSTD)])
def test_a_compressed_upload_is_stored(client, pack, headers):
    content = form(name=b"a", description=b"b", model_file=saved(make_module(1.0)).read())
    response = post(client, pack(content), FORM, "/api/models/", headers)
    assert response.status_code == 201
    assert Model.objects.get(pk=response.json()["model_id"]).size


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"\x1f\x8b",
        packed(b'{"name": "g"}')[:-1],
        packed(b'{"name": "g"}')[:-8] + b"\0" * 8,
        packed(b'{"name": "g"}')[:15] + b"\xff" * 20,
        packed(b'{"name": "g"}') + b"garbage",
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", FORM])
def test_damaged_gzip_is_told(client, content, kind):
    response = post(client, content, kind)
    assert (response.status_code, response.json()) == (
        400,
        {"detail": "The body is no whole gzip stream."},
    )


def beyond_any_window(content):
    """Pack it so that decoding it takes 128 MB of memory."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        zstd.compress(b'{"name": "g"}')[:4],
        zstd.compress(b'{"name": "g"}')[:-1],
        zstd.compress(b'{"name": "g"}') + b"garbage",
        beyond_any_window(b'{"name": "g"}'),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", FORM])
def test_damaged_zstd_is_told(client, content, kind):
    response = post(client, content, kind, headers=ZSTD)
    assert (response.status_code, response.json()) == (
        400,
        {"detail": "The body is no whole zstd stream."},
    )


@pytest.mark.parametrize("name", ["br", "deflate", "compress", "gzip, gzip", "a" * 5000, "a\x1b"])
def test_other_encodings_are_named(client, name):
    response = post(client, b"x", headers={"Content-Encoding": name})
    assert response.status_code == 415
    assert response["Accept-Encoding"] == "gzip, zstd"
    shown = name[:100].replace("\x1b", "?")
    detail = f"The Content-Encoding '{shown}' is not supported: send gzip, zstd or none."
    assert response.json() == {"detail": detail}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", json.dumps({"name": "g" * 2000}).encode()),
        ("application/x-www-form-urlencoded", b"name=" + b"g" * 2000),
        (FORM, form(name=b"g" * 2000)),
        (FORM, form(name=b"g") + b" " * 2000),
    ],
)
@pytest.mark.parametrize(("pack", "headers"), [(packed, GZIP), (zstd.compress, ZSTD)])
def test_what_inflates_beyond_the_limit_is_refused(client, settings, kind, content, pack, headers):
    settings.FL_SMALL_BODY_BYTES = 1000
    response = post(client, pack(content), kind, headers=headers)
    assert (response.status_code, list(response.json())) == (413, ["detail"])


def test_an_upload_that_inflates_beyond_its_limit_leaves_nothing(client, settings):
    settings.FL_MAX_UPLOAD_BYTES = 1_000_000
    content = form(name=b"a", description=b"b", model_file=b"\0" * 2_000_000)
    response = post(client, packed(content), FORM, "/api/models/")
    assert response.status_code == 413
    assert files() == set()


def test_no_more_is_inflated_than_the_limit(client, settings, monkeypatch):
    """What a bomb costs is one chunk beyond the limit, however much it stands for."""
    settings.FL_MAX_UPLOAD_BYTES = 1_000_000
    taken, read = [], gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda *args: taken.append(data := read(*args)) or data
    )
    bomb = packed(form(model_file=b"\0" * 50_000_000))
    assert post(client, bomb, FORM, "/api/models/").status_code == 413
    assert sum(map(len, taken)) == 1_000_001


def test_no_more_of_zstd_is_inflated_than_the_limit(client, settings, monkeypatch):
    settings.FL_MAX_UPLOAD_BYTES = 1_000_000
    taken, read = [], zstd.ZstdFile.read
    monkeypatch.setattr(
        zstd.ZstdFile, "read", lambda *args: taken.append(data := read(*args)) or data
    )
    bomb = zstd.compress(form(model_file=b"\0" * 50_000_000))
    assert post(client, bomb, FORM, "/api/models/", ZSTD).status_code == 413
    assert sum(map(len, taken)) == 1_000_001


def test_nothing_is_inflated_for_a_stranger(nobody, db, monkeypatch):
    monkeypatch.setattr(gzip.GzipFile, "read", lambda *_: 1 / 0)
    content = packed(form(name=b"a"))
    assert post(nobody, content, FORM, "/api/models/").status_code == 401
