"""By which URLs a server is reached, where it listens here or there."""

import socket
from contextlib import contextmanager

import pytest

from fl_server import reach


@contextmanager
def bound(host, family=socket.AF_INET):
    """A socket on a free port of the host, which nobody can connect to yet."""
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        yield listener, listener.getsockname()[1]


@pytest.fixture
def addresses(monkeypatch):
    """A machine with two addresses besides those that lead nowhere else."""
    found = ["127.0.1.1", "10.0.0.7", "169.254.3.4", "192.168.1.5"]
    rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: rows)
    monkeypatch.setattr(reach, "NOWHERE", {socket.AF_INET: "127.0.0.1"})


def test_where_it_listens_everywhere_this_machine_takes_the_loopback():
    with bound("0.0.0.0") as (listener, port):
        assert reach.local_url("0.0.0.0", listener) == f"http://127.0.0.1:{port}"


def test_a_name_that_it_listens_on_is_kept():
    with bound("127.0.0.1") as (listener, port):
        assert reach.local_url("localhost", listener) == f"http://localhost:{port}"


def test_an_ipv6_address_stands_in_brackets():
    assert reach.url("::1", 80) == "http://[::1]:80"


def test_on_a_loopback_nobody_else_reaches_it():
    with bound("127.0.0.1") as (listener, _):
        assert reach.remote_hosts("127.0.0.1", listener) == []


def test_others_take_the_addresses_that_lead_to_this_machine(addresses):
    with bound("0.0.0.0") as (listener, _):
        assert reach.remote_hosts("0.0.0.0", listener) == ["10.0.0.7", "192.168.1.5"]


def test_without_an_address_its_name_is_left(addresses, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    monkeypatch.setattr(socket, "gethostname", lambda: "Laptop")
    with bound("0.0.0.0") as (listener, _):
        assert reach.remote_hosts("0.0.0.0", listener) == ["laptop"]


def test_only_what_the_setting_allows_is_not_refused(settings):
    settings.ALLOWED_HOSTS = ["10.0.0.7", ".example.org", "[2001:db8::7]"]
    hosts = ["10.0.0.7", "10.0.0.8", "fl.example.org", "2001:db8::7", "2001:db8::8"]
    assert reach.refused_hosts(hosts) == ["10.0.0.8", "[2001:db8::8]"]
