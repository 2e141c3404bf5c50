"""Files that go on where a link has dropped."""

import pytest
import requests

from fl_client import Refused, transfers
from tests.client.conftest import URL

PATH = "/api/models/m/"
CUT = requests.ConnectionError("cut")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model"


def serve(server, content, tag='"v1"', **options):
    server.get(URL + PATH, body=content, headers={"ETag": tag}, **options)


def header(server, name, call=-1):
    return server.calls[call].request.headers.get(name)


def test_a_download_knows_its_version(server, transport, target):
    serve(server, b"weights")
    fetched = transfers.download(transport, PATH, target)
    assert (fetched.path.read_bytes(), fetched.tag) == (b"weights", "v1")


def test_what_is_there_is_not_fetched_again(server, transport, target):
    serve(server, b"weights")
    server.get(URL + PATH, status=304)
    first = transfers.download(transport, PATH, target)
    assert transfers.download(transport, PATH, target) == first
    assert header(server, "If-None-Match") == '"v1"'


def test_a_download_goes_on_where_it_was_cut(server, transport, target):
    target.with_name("model.part").write_bytes(b"wei")
    target.with_name("model.part.etag").write_text('"v1"')
    server.get(URL + PATH, body=CUT)
    serve(server, b"ghts", status=206)
    fetched = transfers.download(transport, PATH, target)
    assert fetched.path.read_bytes() == b"weights"
    assert (header(server, "Range"), header(server, "If-Range")) == ("bytes=3-", '"v1"')


def test_a_part_of_an_older_version_is_of_no_use(server, transport, target):
    target.with_name("model.part").write_bytes(b"old")
    target.with_name("model.part.etag").write_text('"v0"')
    serve(server, b"weights")
    assert transfers.download(transport, PATH, target).path.read_bytes() == b"weights"


def test_a_part_beyond_the_end_is_dropped(server, transport, target):
    target.with_name("model.part").write_bytes(b"too much")
    target.with_name("model.part.etag").write_text('"v1"')
    server.get(URL + PATH, status=416)
    serve(server, b"weights")
    assert transfers.download(transport, PATH, target).path.read_bytes() == b"weights"
    assert header(server, "Range") is None


def test_a_refused_download_leaves_what_was_there(server, transport, target):
    serve(server, b"weights")
    transfers.download(transport, PATH, target)
    server.get(URL + PATH, status=403, json={"detail": "No."})
    with pytest.raises(Refused):
        transfers.download(transport, PATH, target)
    assert target.read_bytes() == b"weights"


def uploads(server, *offsets):
    server.post(f"{URL}/api/uploads/", status=201, headers={"Location": "/api/uploads/u/"})
    for offset in offsets:
        server.head(f"{URL}/api/uploads/u/", headers={"Upload-Offset": str(offset)})


def test_an_upload_goes_on_where_the_server_is(server, transport, target):
    target.write_bytes(b"weights")
    uploads(server, 3, 7)
    sent = []

    def receive(request):
        sent.append((request.headers["Upload-Offset"], bytes(request.body)))
        if len(sent) == 1:
            raise CUT
        return 204, {}, ""

    server.add_callback("PATCH", f"{URL}/api/uploads/u/", receive)
    assert transfers.upload(transport, target) == "u"
    assert sent == [("0", b"weights"), ("3", b"ghts")]


def test_an_upload_that_the_server_has_lost_begins_anew(server, transport, target):
    target.write_bytes(b"weights")
    server.post(f"{URL}/api/uploads/", status=201, headers={"Location": "/api/uploads/u/"})
    server.patch(f"{URL}/api/uploads/u/", status=404)
    server.head(f"{URL}/api/uploads/u/", status=404)
    server.post(f"{URL}/api/uploads/", status=201, headers={"Location": "/api/uploads/v/"})
    server.patch(f"{URL}/api/uploads/v/", status=204)
    server.head(f"{URL}/api/uploads/v/", headers={"Upload-Offset": "7"})
    assert transfers.upload(transport, target) == "v"
