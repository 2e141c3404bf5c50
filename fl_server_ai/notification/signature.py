"""Signing what is posted, so that a receiver knows whom it comes from.

Symmetric signatures of Standard Webhooks 1.0 (https://www.standardwebhooks.com): HMAC-SHA256
over id, time and the very bytes of the body. The time lets a receiver refuse what was recorded
long ago, the id, which a repeated message keeps, what it has seen.
"""

import hashlib
import hmac
from base64 import b64encode

from fl_server_core.models.user import signing_key


def headers(secret: str, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a body at so many seconds since 1970."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signature = hmac.digest(signing_key(secret), content, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{b64encode(signature).decode()}",
    }
