import base64
import hashlib
import hmac
import json
import secrets

import pytest
import responses
from django.core.exceptions import ValidationError

from fl_server_ai.notification import signature
from fl_server_ai.notification.delivery import deliver
from fl_server_core.models.user import signing_key, validate_secret

URL = "http://client.test/"
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
def calls(move, training, participants):
    """Post all that is owed to a receiver: `calls(secret)`."""

    def post(secret, *, status=204):
        user = participants[0]
        user.notification_secret = secret
        user.save()
        move("start")
        with responses.RequestsMock() as mock:
            mock.post(URL, status=status)
            deliver(training.pk, user.pk)
            return [call.request for call in mock.calls]

    return post


def test_the_bytes_that_are_posted_are_signed(calls, participants):
    first, second = calls(SECRET)
    for request in (first, second):
        sent = participants[0].notifications.get(pk=request.headers["webhook-id"])
        assert json.loads(request.body) == sent.message
        head = f"{sent.pk}.{request.headers['webhook-timestamp']}.".encode()
        expected = base64.b64encode(hmac.digest(KEY, head + request.body, hashlib.sha256)).decode()
        assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_without_a_secret_nothing_is_added(calls):
    plain, _ = calls("")
    assert not any(name.lower().startswith("webhook") for name in plain.headers)
    assert SECRET not in str(plain.headers)
