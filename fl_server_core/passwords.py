"""Passwords: how many are hashed at once, and how many wrong ones are accepted."""

import os
import threading
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from fl_server_core.exceptions import TooMany
from fl_server_core.throttles import address_of, counted

_at_work = threading.BoundedSemaphore(max((os.cpu_count() or 1) // settings.FL_WEB_WORKERS, 1))
_in_line = threading.BoundedSemaphore(max(settings.FL_WEB_THREADS // 2, 1))


class PBKDF2PasswordHasher(hashers.PBKDF2PasswordHasher):
    """Django's, which hashes at most as many at once as there are processors for this process.

    To hash a password takes a core for a quarter of a second, by design. More at once would leave
    other requests no processor, and too many that wait would leave them no thread.
    """

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Hash the password; raises TooMany if half of the threads hash or wait."""
        if not _in_line.acquire(blocking=False):
            raise TooMany("Too many passwords at once.", seconds=1)
        try:
            with _at_work:
                return super().encode(password, salt, iterations)
        finally:
            _in_line.release()


class Backend(ModelBackend):
    """Django's, with a limit on an address's wrong passwords; a user's are counted by `User`."""

    def authenticate(  # noqa: D102
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        check = partial(super().authenticate, request, username, password, **kwargs)
        return check() if request is None else counted(f"address {address_of(request)}", check)
