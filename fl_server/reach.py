"""How a server that listens is reached: from its own machine, from others, by which names."""

import socket
from contextlib import suppress
from ipaddress import ip_address

from django.conf import settings
from django.http.request import validate_host

NOWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that belong to nobody: RFC 5737, RFC 3849."""


def local_url(host: str, listener: socket.socket) -> str:
    """Return the URL that works on this machine, where it listens on this host."""
    address, port = listener.getsockname()[:2]
    if ip_address(address).is_unspecified:  # all of the machine's addresses
        host = "::1" if listener.family == socket.AF_INET6 else "127.0.0.1"
    return url(host, port)


def remote_hosts(host: str, listener: socket.socket) -> list[str]:
    """Return the names under which other machines may reach it; none on a loopback."""
    address = ip_address(listener.getsockname()[0])
    if address.is_loopback:
        return []
    if address.is_unspecified:
        return _addresses(socket.AddressFamily(listener.family)) or [socket.gethostname().lower()]
    return [host]


def refused_hosts(hosts: list[str]) -> list[str]:
    """Return those by which the server may not be called, as they stand in a URL."""
    named = map(bracketed, hosts)
    return [host for host in named if not validate_host(host, settings.ALLOWED_HOSTS)]


def url(host: str, port: int) -> str:
    """Return the URL of a server there."""
    return f"http://{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _addresses(family: socket.AddressFamily) -> list[str]:
    """Return this machine's, as far as they can be known without asking anybody."""
    found: set[str] = set()
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect((NOWHERE[family], 9))  # sends nothing, but has the system choose a network
        found.add(probe.getsockname()[0])
    with suppress(OSError):
        rows = socket.getaddrinfo(socket.gethostname(), None, family)
        found.update(str(row[4][0]) for row in rows)
    return sorted(one for one in found if _is_useful(one))


def _is_useful(address: str) -> bool:
    ip = ip_address(address)
    return not (ip.is_loopback or ip.is_unspecified or ip.is_link_local)
