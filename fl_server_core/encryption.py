"""What is stored encrypted, so that a copy of the database alone tells nothing of it.

The keys are made of the secret key, one for each purpose. Earlier secret keys go on opening what
they closed.
"""

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac


def secret_keys() -> list[str]:
    """Return the present secret key, and the earlier ones."""
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def encrypt(text: str, purpose: str) -> str:
    """Return what `decrypt` opens, another each time."""
    return _cipher(purpose).encrypt(text.encode()).decode()


def decrypt(encrypted: str, purpose: str) -> str | None:
    """Return the text; None where no known secret key opens it."""
    try:
        return _cipher(purpose).decrypt(encrypted).decode()
    except InvalidToken:
        return None


def _cipher(purpose: str) -> MultiFernet:
    return MultiFernet([_fernet(purpose, secret) for secret in secret_keys()])


def _fernet(purpose: str, secret: str) -> Fernet:
    key = salted_hmac(purpose, "", secret=secret, algorithm="sha256").digest()
    return Fernet(urlsafe_b64encode(key))
