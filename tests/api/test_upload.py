"""Uploads in parts, by the tus protocol 1.0.0."""

import errno
import fcntl
import gzip
import os
from datetime import timedelta
from uuid import uuid4

import pytest
from django.http import UnreadablePostError
from django.utils import timezone
from django.utils.http import parse_http_date

from fl_server_core import resumable
from fl_server_core.models import Upload
from fl_server_core.places import Places
from tests.api.conftest import as_user
from tests.api.tus import KIND, URL, VERSION, ask, begin, checksum, patch, sent

pytestmark = pytest.mark.django_db


def path_of(upload, settings):
    return settings.UPLOAD_DIR / str(upload.pk)


def kept(client, upload):
    """Return the offset that the server tells."""
    answer = ask(client, "HEAD", upload.pk)
    assert answer.status_code == 200
    return int(answer["Upload-Offset"])


def told(answer):
    return answer.status_code, answer.json()["detail"]


def test_what_the_server_knows_is_told_without_a_version(client, settings):
    settings.FL_MAX_UPLOAD_BYTES = 77
    for url in (URL, f"{URL}{uuid4()}/"):
        answer = client.options(url)
        assert (answer.status_code, answer["Tus-Resumable"]) == (204, "1.0.0")
        assert (answer["Tus-Version"], answer["Tus-Max-Size"]) == ("1.0.0", "77")
        extensions = "creation,creation-with-upload,checksum,expiration,termination"
        assert answer["Tus-Extension"] == extensions
        assert answer["Tus-Checksum-Algorithm"] == "sha1,sha256,md5"


def test_a_file_comes_in_parts(client, user, settings):
    answer = ask(client, "POST", upload_length=7, upload_metadata="filename bS5wdA==,private")
    upload = Upload.objects.get()
    assert (answer.status_code, answer["Location"]) == (201, f"{URL}{upload.pk}/")
    assert (upload.owner, upload.length, upload.offset) == (user, 7, 0)

    answer = patch(client, upload, b"abc")
    assert (answer.status_code, answer["Upload-Offset"]) == (204, "3")
    answer = ask(client, "HEAD", upload.pk)
    assert (answer.status_code, answer["Upload-Offset"], answer["Upload-Length"]) == (200, "3", "7")
    assert answer["Upload-Metadata"] == "filename bS5wdA==,private"
    assert (answer["Cache-Control"], answer["Tus-Resumable"]) == ("no-store", "1.0.0")

    answer = patch(client, upload, b"defg", 3)
    assert (answer.status_code, answer["Upload-Offset"]) == (204, "7")
    assert path_of(upload, settings).read_bytes() == b"abcdefg"
    assert patch(client, upload, b"", 7).status_code == 204


def test_the_first_part_may_come_along(client, settings):
    answer = ask(client, "POST", content=b"abc", upload_length=7)
    assert (answer.status_code, answer["Upload-Offset"]) == (201, "3")
    assert path_of(Upload.objects.get(), settings).read_bytes() == b"abc"


def test_a_file_may_be_empty(client):
    upload = begin(client, 0)
    assert kept(client, upload) == 0


@pytest.mark.parametrize(("method", "id"), [("POST", ""), ("HEAD", "x"), ("PATCH", "x")])
@pytest.mark.parametrize("version", ["", "0.2.2", "1.0.0, 1.0.0"])
def test_another_version_is_refused(client, method, id, version):
    answer = ask(client, method, id, tus_resumable=version, upload_length=1, upload_offset=0)
    assert (answer.status_code, answer["Tus-Version"]) == (412, "1.0.0")
    assert answer["Tus-Resumable"] == "1.0.0"
    assert not Upload.objects.exists()


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "HEAD", "delete"])
def test_a_method_may_be_a_header(client, method):
    upload = begin(client, 3)
    answer = ask(client, "POST", upload.pk, b"abc", upload_offset=0, x_http_method_override=method)
    assert answer.status_code == (200 if method == "HEAD" else 204)
    assert Upload.objects.exists() == (method.upper() != "DELETE")


@pytest.mark.parametrize("method", ["", "GET", "TRACE", "\x1b[31m"])
def test_without_such_a_header_a_post_is_none_of_these(client, method):
    headers = {"x_http_method_override": method} if method else {}
    answer = ask(client, "POST", begin(client, 3).pk, b"abc", upload_offset=0, **headers)
    assert told(answer) == (405, 'Method "POST" not allowed.')


@pytest.mark.parametrize("length", ["", "-1", "+1", "1.0", "1e3", " ", "x", "\u0663", "1" * 101])
def test_a_length_is_a_whole_number(client, length):
    headers = {"upload_length": length} if length else {"upload_defer_length": 1}
    answer = ask(client, "POST", **headers)
    assert told(answer) == (400, "The header Upload-Length has to be a whole number.")


@pytest.mark.parametrize("length", [11, 10**30])
def test_no_file_is_longer_than_uploads_may_be(client, settings, length):
    settings.FL_MAX_UPLOAD_BYTES = 10
    answer = ask(client, "POST", upload_length=length)
    assert told(answer) == (413, "An upload may have 10 bytes.")
    assert begin(client, 10)


@pytest.mark.parametrize(
    "metadata",
    [
        ",",
        "a b c",
        "a !",
        "a QQ",
        "a QQ=",
        "a QQ==,a QQ==",
        "\xe4 QQ==",
        "a\x00 QQ==",
        "a " + "A" * 4096,
    ],
)
def test_metadata_is_names_with_base64(client, metadata):
    answer = ask(client, "POST", upload_length=1, upload_metadata=metadata)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("The header Upload-Metadata ")
    assert not Upload.objects.exists()


@pytest.mark.parametrize("metadata", ["", "a", "a ,b QQ==", "a QQ==, b"])
def test_a_name_may_have_no_value(client, metadata):
    assert begin(client, 1, upload_metadata=metadata).metadata == metadata


@pytest.mark.parametrize("offset", ["", "-1", "x", "0x0", None])
def test_an_offset_is_a_whole_number(client, offset):
    upload = begin(client, 3)
    headers = {} if offset is None else {"upload_offset": offset}
    answer = ask(client, "PATCH", upload.pk, b"abc", **headers)
    assert told(answer) == (400, "The header Upload-Offset has to be a whole number.")


@pytest.mark.parametrize("offset", [0, 2, 4, 10**30])
def test_a_part_begins_where_the_last_one_ended(client, offset):
    upload = begin(client, 9)
    patch(client, upload, b"abc")
    answer = patch(client, upload, b"x" * 9, offset)
    assert told(answer) == (409, f"Upload {upload.pk} has come to 3, not to {offset}.")
    assert kept(client, upload) == 3


def test_no_more_comes_than_was_said(client):
    upload = begin(client, 4)
    patch(client, upload, b"abc")
    answer = patch(client, upload, b"de", 3)
    assert told(answer) == (413, f"Only 1 bytes of upload {upload.pk} are missing.")
    assert kept(client, upload) == 3


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "application/json"])
def test_a_part_is_said_to_be_one(client, kind):
    upload = begin(client, 3)
    assert ask(client, "PATCH", upload.pk, b"abc", kind, upload_offset=0).status_code == 415
    assert ask(client, "PATCH", upload.pk, b"", kind, upload_offset=0).status_code == 415
    assert ask(client, "POST", content=b"abc", kind=kind, upload_length=3).status_code == 415
    assert kept(client, upload) == 0


def test_a_part_may_come_in_gzip_and_counts_as_what_it_holds(client, settings):
    upload, content = begin(client, 2000), gzip.compress(bytes(1000))
    assert patch(client, upload, content, content_encoding="gzip").status_code == 204
    assert kept(client, upload) == 1000
    cut = gzip.compress(os.urandom(1000))[:500]
    assert patch(client, upload, cut, 1000, content_encoding="gzip").status_code == 400
    assert path_of(upload, settings).stat().st_size == kept(client, upload) >= 1000


# --- Checksums -----------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_a_part_that_adds_up_is_kept(client, algorithm):
    upload = begin(client, 6)
    assert patch(client, upload, b"abc").status_code == 204
    answer = patch(client, upload, b"def", 3, upload_checksum=checksum(b"def", algorithm))
    assert (answer.status_code, kept(client, upload)) == (204, 6)


def test_nothing_stays_of_one_that_does_not(client, settings):
    upload = begin(client, 6)
    patch(client, upload, b"abc")
    answer = patch(client, upload, b"dxf", 3, upload_checksum=checksum(b"def"))
    assert (answer.status_code, kept(client, upload)) == (460, 3)
    assert path_of(upload, settings).read_bytes() == b"abc"
    assert patch(client, upload, b"def", 3, upload_checksum=checksum(b"def")).status_code == 204


def test_an_upload_that_begins_with_such_a_part_is_none(client, settings):
    answer = ask(client, "POST", content=b"x", upload_length=3, upload_checksum=checksum(b"y"))
    assert answer.status_code == 460
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    "said", ["", "sha1", "sha1 ", "sha1 !", "sha1 QQ==", "crc32 QQ==", "SHA1 x"]
)
def test_a_checksum_is_one_that_is_known(client, said):
    upload = begin(client, 3)
    answer = patch(client, upload, b"abc", upload_checksum=said)
    assert (answer.status_code, kept(client, upload)) == (400, 0)


# --- Whose it is -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_nobody_else_learns_of_an_upload(client, stranger, nobody, admin_user, method):
    upload = begin(client, 3)
    for other in (stranger, as_user(admin_user)):
        answer = ask(other, method, upload.pk, b"abc", upload_offset=0)
        unknown = ask(other, method, uuid4(), b"abc", upload_offset=0)
        assert (answer.status_code, unknown.status_code) == (404, 404)
    assert ask(nobody, method, upload.pk, b"abc", upload_offset=0).status_code == 401
    assert kept(client, upload) == 0


@pytest.mark.parametrize("id", ["x", "..", "%2e%2e%2fsecret", "..%5c", "0", "-1", "%00", "a" * 500])
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_an_id_that_is_none_is_unknown(client, settings, method, id):
    (settings.MODEL_DIR / "secret").write_bytes(b"")
    answer = ask(client, method, id, b"abc", upload_offset=0)
    assert answer.status_code == 404
    assert (settings.MODEL_DIR / "secret").read_bytes() == b""


# --- Cut off, killed, at once ------------------------------------------------------------


class Cut:
    """What is read until a connection ends."""

    def __init__(self, *pieces):
        self.pieces = [*pieces]

    def read(self, size):
        if not self.pieces:
            raise UnreadablePostError
        return self.pieces.pop(0)


def receive(upload, *pieces, offset=0, **fields):
    size = upload.length - offset
    resumable.receive(upload, resumable.Part(offset, size, Cut(*pieces), **fields))


def test_what_came_before_the_connection_ended_counts(client):
    upload = begin(client, 9)
    with pytest.raises(UnreadablePostError):
        receive(upload, b"abc", b"de")
    assert kept(client, upload) == 5
    assert patch(client, upload, b"fghi", 5).status_code == 204


def test_it_does_not_if_it_cannot_be_checked(client):
    upload = begin(client, 9)
    with pytest.raises(UnreadablePostError):
        receive(upload, b"abc", checksum=resumable.Checksum("sha1", b""))
    assert kept(client, upload) == 0
    assert patch(client, upload, b"abcdefghi").status_code == 204


def test_it_counts_now_and_then_while_it_comes(client, monkeypatch):
    upload, counted = begin(client, 9), []
    monkeypatch.setattr(resumable, "KEEP_SECONDS", -1)
    monkeypatch.setattr(os, "fsync", lambda _: counted.append(kept(client, upload)))
    with pytest.raises(UnreadablePostError):
        receive(upload, b"abc", b"de")
    assert counted == [0, 3]  # on the disk first


def test_what_is_on_the_disk_and_does_not_count_is_cut_off(client, settings):
    upload = begin(client, 9)
    patch(client, upload, b"abc")
    with path_of(upload, settings).open("ab") as file:
        file.write(b"xyz")
    assert kept(client, upload) == 3
    patch(client, upload, b"d", 3)
    assert path_of(upload, settings).read_bytes() == b"abcd"


@pytest.mark.parametrize("left", [2, None])
def test_what_counts_and_is_not_on_the_disk_is_sent_again(client, settings, left):
    upload, path = begin(client, 9), None
    patch(client, upload, b"abc")
    path = path_of(upload, settings)
    path.unlink() if left is None else os.truncate(path, left)
    assert kept(client, upload) == (left or 0)
    assert patch(client, upload, b"defghi", 3).status_code == 409
    assert patch(client, upload, b"abcdefghi"[left or 0 :], left or 0).status_code == 204
    assert path.read_bytes() == b"abcdefghi"


def test_of_two_parts_at_once_one_comes(client, settings):
    upload = begin(client, 3)
    with path_of(upload, settings).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        answer = patch(client, upload, b"abc")
        assert told(answer) == (423, f"A part of upload {upload.pk} is on its way already.")
        assert kept(client, upload) == 0
    assert patch(client, upload, b"abc").status_code == 204


def test_who_asks_how_far_it_is_waits_for_what_is_on_its_way(client, settings, monkeypatch):
    upload = begin(client, 3)
    other = path_of(upload, settings).open("ab")
    fcntl.flock(other, fcntl.LOCK_EX)

    def end(_seconds):
        other.write(b"ab")
        other.close()
        Upload.objects.update(offset=2)

    monkeypatch.setattr(resumable.time, "sleep", end)
    assert kept(client, upload) == 2


def test_it_does_not_wait_for_long(client, settings, monkeypatch):
    monkeypatch.setattr(resumable, "SETTLE_SECONDS", 0.05)
    upload = begin(client, 3)
    with path_of(upload, settings).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert kept(client, upload) == 0


def test_nobody_waits_for_a_file_that_is_gone_or_without_a_place(client, settings, monkeypatch):
    def never(_seconds):
        raise AssertionError("it waits")

    monkeypatch.setattr(resumable.time, "sleep", never)
    upload = begin(client, 3)
    with path_of(upload, settings).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        monkeypatch.setattr("fl_server_api.views.upload.POLLS", Places(0))
        assert kept(client, upload) == 0
    monkeypatch.undo()
    monkeypatch.setattr(resumable.time, "sleep", never)
    path_of(upload, settings).unlink()
    assert kept(client, upload) == 0


def test_a_part_of_an_upload_that_is_removed_meanwhile_is_refused(client):
    upload = begin(client, 9)

    class Removing(Cut):
        def read(self, size):
            ask(client, "DELETE", upload.pk)
            return super().read(size) if self.pieces else b""

    with pytest.raises(Upload.DoesNotExist):
        resumable.receive(upload, resumable.Part(0, 9, Removing(b"abc")))


def test_what_finds_no_room_does_not_count(client, monkeypatch):
    def find_no_room(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    upload = begin(client, 9)
    patch(client, upload, b"abc")
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", find_no_room)
        assert patch(client, upload, b"def", 3).status_code == 507
    assert kept(client, upload) == 3
    assert patch(client, upload, b"defghi", 3).status_code == 204


# --- Its end ---------------------------------------------------------------------------


def test_a_removed_upload_is_gone_with_its_bytes(client, django_capture_on_commit_callbacks):
    upload = sent(client, b"abc")
    with django_capture_on_commit_callbacks(execute=True):
        answer = ask(client, "DELETE", upload.pk)
    assert (answer.status_code, answer["Tus-Resumable"]) == (204, "1.0.0")
    assert ask(client, "HEAD", upload.pk).status_code == 404


def expire(upload):
    Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now())


def test_how_long_it_is_kept_is_told_and_each_part_prolongs_it(client, settings):
    settings.FL_KEEP_UPLOADS_HOURS = 2
    upload = begin(client, 3)
    Upload.objects.update(expires_at=timezone.now() + timedelta(seconds=9))
    until = parse_http_date(patch(client, upload, b"a")["Upload-Expires"])
    assert 7000 < until - timezone.now().timestamp() <= 7200


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_one_that_has_expired_is_gone(client, method):
    expire(upload := begin(client, 3))
    answer = ask(client, method, upload.pk, b"abc", upload_offset=0)
    assert answer.status_code == 410


def make_old(path):
    os.utime(path, (0, 0))


def test_expired_ones_and_files_of_none_are_removed(client, settings):
    expired, young = sent(client, b"abc"), sent(client, b"def")
    orphan, fresh = (settings.UPLOAD_DIR / str(uuid4()) for _ in range(2))
    for path in (orphan, fresh):
        path.touch()
    expire(expired)
    for path in (path_of(expired, settings), path_of(young, settings), orphan):
        make_old(path)
    resumable.remove_expired()
    assert Upload.objects.get() == young
    assert set(settings.UPLOAD_DIR.iterdir()) == {path_of(young, settings), fresh}


# --- Quotas, bodies, other origins ---------------------------------------------------------


def test_the_length_that_is_said_counts_as_stored(client, settings):
    settings.FL_QUOTA_BYTES = 10
    upload = begin(client, 6)
    assert ask(client, "POST", upload_length=5).status_code == 507
    ask(client, "DELETE", upload.pk)
    assert begin(client, 10)


def test_a_user_has_so_many_uploads(client, stranger, settings):
    settings.FL_QUOTA_UPLOADS = 1
    begin(client, 1)
    answer = ask(client, "POST", upload_length=1)
    assert told(answer) == (429, "You may have 1 uploads: use or delete some first.")
    assert begin(stranger, 1)


def test_a_part_may_be_as_long_as_a_file(client, settings):
    upload = begin(client, 100_000)
    assert patch(client, upload, bytes(100_000)).status_code == 204
    settings.FL_MAX_UPLOAD_BYTES = 99
    assert patch(client, upload, bytes(100), 0).status_code == 413


def test_without_credentials_nothing_is_read(nobody, monkeypatch):
    monkeypatch.setattr(resumable, "receive", lambda *_: 1 / 0)
    assert ask(nobody, "POST", content=b"abc", upload_length=3).status_code == 401
    assert nobody.options(URL).status_code == 401


def test_pages_of_other_origins_may_upload(nobody, client, settings):
    settings.CORS_ALLOWED_ORIGINS = [origin := "https://app.example.org"]
    wanted = ["tus-resumable", "upload-length", "upload-metadata", "upload-offset"]
    wanted += ["upload-checksum", "x-http-method-override", "content-type", "authorization"]
    preflight = {
        "origin": origin,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": ",".join(wanted),
    }
    answer = nobody.options(f"{URL}{uuid4()}/", headers=preflight)
    assert answer.status_code == 200
    assert set(wanted) <= set(answer["Access-Control-Allow-Headers"].split(", "))
    assert {"PATCH", "DELETE"} <= set(answer["Access-Control-Allow-Methods"].split(", "))
    answer = client.generic("POST", URL, headers=VERSION | {"origin": origin, "upload-length": "1"})
    shown = set(answer["Access-Control-Expose-Headers"].split(", "))
    assert {name for name in answer.headers if name.startswith(("Upload", "Tus", "Loc"))} <= shown


def test_a_session_needs_the_forms_secret_whatever_the_method_is_said_to_be(user):
    from django.test import Client

    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    headers = VERSION | {"upload-length": "3", "x-http-method-override": "POST"}
    for method in ("POST", "GET"):
        assert browser.generic(method, URL, b"", KIND, headers=headers).status_code == 403
