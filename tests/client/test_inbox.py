"""Being posted to."""

import json
import time
from itertools import islice

import pytest
import requests

from fl_client.inbox import Inbox, is_genuine, listening, new_secret
from fl_server_ai.notification import signature

SECRET = new_secret()


@pytest.fixture
def inbox(tmp_path):
    return Inbox(tmp_path)


def post(port, body, message_id="n1", age=0, secret=SECRET):
    headers = signature.headers(
        secret, message_id=message_id, timestamp=int(time.time()) - age, body=body
    )
    return requests.post(f"http://127.0.0.1:{port}/", data=body, headers=headers, timeout=60)


def body_of(kind):
    return json.dumps({"notification_type": kind}).encode()


def test_what_is_accepted_stays_until_its_work_is_done(inbox, tmp_path):
    with listening(("127.0.0.1", 0), SECRET, inbox) as port:
        for message_id in ("n1", "n2", "n1"):  # one is repeated
            assert post(port, body_of(message_id), message_id).status_code == 204
    items = inbox.items()
    assert next(items)["notification_type"] == "n1"
    item = next(items)
    left = [item["notification_type"] for item in islice(Inbox(tmp_path).items(), 2)]
    assert left == ["n1", "n2"]
    item["file"].unlink()
    assert len(list(tmp_path.iterdir())) == 1


def test_forged_old_and_endless_messages_are_refused(inbox, tmp_path):
    with listening(("127.0.0.1", 0), SECRET, inbox) as port:
        assert post(port, b"{}", secret=new_secret()).status_code == 401
        assert post(port, b"{}", age=3600).status_code == 401
        assert post(port, b"{}", message_id="../x").status_code == 401
        bare = requests.post(f"http://127.0.0.1:{port}/", data=b"{}", timeout=60)
        assert bare.status_code == 401
        long = requests.post(f"http://127.0.0.1:{port}/", data=b" " * (2 << 20), timeout=60)
        assert long.status_code == 413
    assert not list(tmp_path.iterdir())


def signed(body=b"{}", at=0, secret=SECRET):
    return signature.headers(secret, message_id="n", timestamp=int(time.time()) + at, body=body)


@pytest.mark.parametrize(
    "changed",
    [
        signed(at=3600),
        signed(body=b"{ }"),
        {"webhook-id": "other"},
        {"webhook-timestamp": "x"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,\xe9"},
    ],
    ids=["of the future", "of another body", "id", "time", "no signature", "no base64"],
)
def test_what_is_not_signed_just_so_is_not_genuine(changed):
    assert not is_genuine(SECRET, signed() | changed, b"{}")


def test_of_several_signatures_one_suffices():
    headers = signed()
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']}"
    assert is_genuine(SECRET, headers, b"{}")


@pytest.mark.parametrize("length", ["9" * 5000, "0" * 5000, "-1", "x", ""])
def test_a_length_that_is_none_is_answered(inbox, length):
    with listening(("127.0.0.1", 0), SECRET, inbox) as port:
        headers = {"Content-Length": length}
        answer = requests.post(f"http://127.0.0.1:{port}/", headers=headers, timeout=10)
    assert answer.status_code in (401, 413)
