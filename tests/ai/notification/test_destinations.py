"""Which addresses are posted to; those that are closed are what an attacker would try."""

from ipaddress import ip_network

import pytest

from fl_server_ai.notification.destinations import is_open

LOCAL = ["127.0.0.1", "127.1.2.3", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "fd12::1"]
LOCAL += ["100.64.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "::10.0.0.1"]
GLOBAL = ["8.8.8.8", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "::ffff:0.0.0.0",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::",
    "fe80::1",
    "fe80::1%1",
    "224.0.0.1",
    "239.1.1.1",
    "ff02::1",
    "ff0e::1",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
]
CLOSED = ["240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "fec0::1", "2001:db8::1"]
CLOSED += ["64:ff9b:1::7f00:1", "100::1", "4000::1", "2001::1"]


@pytest.fixture
def allow(settings):
    """Set what FL_NOTIFY_ALLOW lists."""
    settings.FL_NOTIFY_DENY = []
    return lambda *items: setattr(settings, "FL_NOTIFY_ALLOW", [ip_network(i) for i in items])


@pytest.mark.parametrize("host", LOCAL)
def test_local_networks_are_closed_unless_they_are_listed(allow, settings, host):
    allow()
    assert not is_open(host, 8101)
    allow("10.0.0.0/8", "127.0.0.0/8", "::1", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
    assert is_open(host, 8101) == (host != "100.64.0.1")
    settings.FL_NOTIFY_DENY = settings.FL_NOTIFY_ALLOW
    assert not is_open(host, 8101)


@pytest.mark.parametrize("host", GLOBAL)
def test_global_addresses_are_open(allow, settings, host):
    allow()
    assert is_open(host, 443)
    settings.FL_NOTIFY_DENY = [ip_network("8.8.8.0/24"), ip_network("2a00::/16")]
    assert not is_open(host, 443)


@pytest.mark.parametrize("host", NEVER)
def test_some_addresses_are_never_open(allow, host):
    allow("0.0.0.0/0", "::/0")
    assert not is_open(host, 80)


@pytest.mark.parametrize("host", CLOSED)
def test_what_is_not_global_is_closed(allow, host):
    allow()
    assert not is_open(host, 80)


def test_the_servers_own_services_are_never_posted_to(allow, settings, monkeypatch):
    allow("0.0.0.0/0", "::/0")
    monkeypatch.setitem(settings.DATABASES["default"], "PORT", 5432)
    settings.REDIS_URL = "redis://:secret@redis"
    for host in ("127.0.0.1", "10.0.0.1", "8.8.8.8", "::1"):
        assert [is_open(host, port) for port in (5432, 6379, 8101)] == [False, False, True]
    settings.REDIS_URL = "rediss://redis:6380/0"
    assert [is_open("10.0.0.1", port) for port in (6379, 6380)] == [True, False]
