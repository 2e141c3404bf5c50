import base64
import hashlib
import hmac
import json
import secrets

import pytest
from django.core.exceptions import ValidationError

from fl_server_ai.notification import signature
from fl_server_ai.notification.delivery import deliver
from fl_server_core.models.user import signing_key, validate_secret

KEY = secrets.token_bytes(32)
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def test_a_signature_is_that_of_the_standards_own_example():
    headers = signature.headers(
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("prefix", ["", "whsec_"])
@pytest.mark.parametrize("length", [24, 64])
def test_secrets_of_the_standard_are_taken(prefix, length):
    key = secrets.token_bytes(length)
    secret = prefix + base64.b64encode(key).decode()
    validate_secret(secret)
    assert signing_key(secret) == key


@pytest.mark.parametrize(
    "secret",
    ["secret", "a" * 31, "whsec_", "é" * 32, " " * 32]
    + [base64.b64encode(bytes(length)).decode() for length in (0, 23, 65)],
)
def test_others_are_refused(secret):
    with pytest.raises(ValidationError):
        validate_secret(secret)


@pytest.fixture
def calls(move, training, participants, endpoint):
    """Post all that is due to a receiver: `calls(secret)` are the headers and bodies."""

    def post(secret):
        user = participants[0]
        user.notification_secret = secret
        user.save()
        move("start")
        deliver(training.pk, user.pk)
        return list(zip(endpoint.headers, endpoint.bodies, strict=True))

    return post


def test_the_bytes_that_are_posted_are_signed(calls, participants):
    first, second = calls(SECRET)
    for headers, body in (first, second):
        sent = participants[0].notifications.get(pk=headers["webhook-id"])
        assert json.loads(body) == sent.message
        head = f"{sent.pk}.{headers['webhook-timestamp']}.".encode()
        expected = base64.b64encode(hmac.digest(KEY, head + body, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"


def test_without_a_secret_nothing_is_added(calls):
    (headers, _), _ = calls("")
    assert headers == {}
