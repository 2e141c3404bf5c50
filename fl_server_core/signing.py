"""Documents that the server signs, so that whoever has one can tell that it is unchanged.

RFC 8785 says what the bytes of a JSON document are, whoever writes it; Ed25519 signs these.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.crypto import salted_hmac

PURPOSE = "fl_server_core.signing"
LARGEST = 2**53 - 1
"""Beyond this not every integer is a number in JSON, as I-JSON (RFC 7493) and RFC 8785 have it."""


def sign(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record, as JSON can hold it, with its signature."""
    plain = _as_json(record)
    return {
        "record": plain,
        "signature": b64encode(_key().sign(rfc8785.dumps(plain))).decode(),
        "key": public_key(),
        "algorithm": "Ed25519",
        "canonicalization": "RFC 8785",
    }


def public_key() -> str:
    """Return what the server's signatures are verified with: 32 bytes in base64."""
    return b64encode(_key().public_key().public_bytes_raw()).decode()


def read_key(text: str) -> Ed25519PrivateKey:
    """Return the key that 32 bytes in base64 stand for; ValueError if it is none."""
    return Ed25519PrivateKey.from_private_bytes(b64decode(text, validate=True))


def _key() -> Ed25519PrivateKey:
    """Return the key that is set, or the one that the secret key makes: all processes' the same."""
    if settings.FL_RECORD_KEY:
        return read_key(settings.FL_RECORD_KEY)
    made = salted_hmac(PURPOSE, "", secret=settings.SECRET_KEY, algorithm="sha256")
    return Ed25519PrivateKey.from_private_bytes(made.digest())


def _as_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of plain values, with larger integers as their digits."""
    written = json.dumps(document, cls=DjangoJSONEncoder)
    read: dict[str, Any] = json.loads(written, parse_int=_integer)
    return read


def _integer(digits: str) -> int | str:
    return int(digits) if abs(int(digits)) <= LARGEST else digits
