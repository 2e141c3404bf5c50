"""How often somebody may do what costs others something, counted in Django's cache.

Embedded that is the memory of one process, so that a server of two counts twice. A cache that
can't be reached counts nothing, because nobody should be locked out by that.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import cache

from fl_server_core.exceptions import TooMany

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Throttle:
    """So many of something by one address, or under one name, in windows of so many seconds."""

    what: str
    setting: str
    seconds: int

    def take(self, who: str) -> None:
        """Count one more; raises TooMany beyond the limit."""
        key = self._key(who)

        def count() -> int:
            cache.add(key, 0, self.seconds)
            return cache.incr(key)

        if _tried(count) > getattr(settings, self.setting):
            left = self.seconds - int(time.time()) % self.seconds
            raise TooMany(f"Too many {self.what}.", seconds=left)

    def give_back(self, who: str) -> None:
        """Count one less: it was none of those that are meant."""
        _tried(lambda: cache.decr(self._key(who)))

    def _key(self, who: str) -> str:
        window = int(time.time()) // self.seconds
        return f"{self.setting}-{window}-{hashlib.sha256(who.encode()).hexdigest()}"


WRONG_PASSWORDS = Throttle("wrong passwords", "FL_WRONG_PASSWORDS", 300)
REGISTRATIONS = Throttle("registrations", "FL_REGISTRATIONS", 3600)
STEERINGS = Throttle("orders to trainings", "FL_STEERINGS", 300)
ACTS = Throttle("changes", "FL_ACTS", 300)


def counted(who: str, check: Callable[[], T]) -> T:
    """Return what the check of a password finds; nothing counts as a wrong one.

    Tries count before they are checked, so that many at once are no more than one by one. Raises
    TooMany for who has tried too many wrong ones.
    """
    WRONG_PASSWORDS.take(who)
    wrong = False
    try:
        found = check()
        wrong = not found
        return found
    finally:
        if not wrong:
            WRONG_PASSWORDS.give_back(who)


def _tried(call: Callable[[], int]) -> int:
    try:
        return call()
    except Exception:  # each cache has errors of its own
        logger.warning("the cache can't be used, so that nothing is throttled", exc_info=True)
        return 0


def address_of(request: Any) -> str:
    """Return whom a request comes from, as `real_address` counts it."""
    return real_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Real-IP", ""))


def sender_of(request: Any) -> str:
    """Return the very address that a request comes from."""
    return _sender(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Real-IP", ""))


def _sender(peer: str, said: str) -> str:
    return said if said and is_proxy(peer) else peer


def real_address(peer: str, said: str) -> str:
    """Return whom it comes from: the peer, or whoever a proxy says if it is one of FL_PROXIES.

    Of an IPv6 address it is the network, because anybody has many of these.
    """
    address = _sender(peer, said)
    try:
        return str(ip_network((address, 64), strict=False)) if ":" in address else address
    except ValueError:
        return address


def is_proxy(address: str) -> bool:
    """Tell whether it is one of FL_PROXIES."""
    try:
        return any(ip_address(address) in network for network in settings.FL_PROXIES)
    except ValueError:  # a socket of the system
        return False
