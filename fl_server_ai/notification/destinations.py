"""Where notifications may go: users choose their endpoints, the server sees more than they do.

An address is checked, never a name, which may lead elsewhere the next time. In this order:

1. nowhere at all: the ports of the server's own database and broker (whatever leads to them: the
   names and addresses for that are too many to list), unspecified addresses (Linux connects them
   to itself), link-local ones and others where clouds hand out credentials, multicast;
2. not to what `FL_NOTIFY_DENY` lists;
3. to what `FL_NOTIFY_ALLOW` lists: by default local networks where the server runs embedded;
4. to global addresses.

An IPv6 address that a gateway or the system turns into an IPv4 one is checked as that.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings

Address = IPv4Address | IPv6Address

CLOUDS = [
    ip_network(text)
    for text in ("fd00:ec2::/32", "100.100.100.200", "168.63.129.16", "192.0.0.192")
]
"""Metadata services of Amazon, Alibaba, Azure and Oracle, beside the link-local ones."""
EMBEDS_IPV4 = [ip_network(text) for text in ("::/96", "64:ff9b::/96")]
"""IPv4-compatible (RFC 4291) and NAT64 (RFC 6052) addresses; IPv4 is in the last 32 bits."""
GLOBAL_UNICAST = ip_network("2000::/3")


def is_open(host: str, port: int) -> bool:
    """Tell whether something may be posted to this address and port."""
    ip = _meant(ip_address(host))
    if port in _own_ports() or _is_never_open(ip):
        return False
    if any(ip in network for network in settings.FL_NOTIFY_DENY):
        return False
    return any(ip in network for network in settings.FL_NOTIFY_ALLOW) or _is_global(ip)


def _meant(ip: Address) -> Address:
    if isinstance(ip, IPv4Address) or ip.is_loopback or ip.is_unspecified:
        return ip
    if any(ip in network for network in EMBEDS_IPV4):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _is_never_open(ip: Address) -> bool:
    special = ip.is_unspecified or ip.is_link_local or ip.is_multicast
    return special or ip in ip_network("0.0.0.0/8") or any(ip in network for network in CLOUDS)


def _is_global(ip: Address) -> bool:
    return ip.is_global and (isinstance(ip, IPv4Address) or ip in GLOBAL_UNICAST)


def _own_ports() -> set[int]:
    ports = {int(settings.DATABASES["default"].get("PORT") or 0)}
    if settings.REDIS_URL:
        ports.add(urlsplit(settings.REDIS_URL).port or 6379)
    return ports
