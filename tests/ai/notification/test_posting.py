"""What a receiver may do to us: nothing that takes long, much memory or our credentials."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pycurl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fl_server_ai.notification import posting
from fl_server_ai.notification.posting import Unreachable, post
from tests.compose import ROOT
from tests.waiting import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def endpoint(answer):
    """Yield the URL of a receiver that takes one connection, and the requests it has read."""
    seen = []

    def serve():
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        with connection:
            connection.settimeout(PATIENCE)
            seen.append(read_request(connection))
            with suppress(OSError):  # it was cut
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/", seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
            assert not thread.is_alive()


def read_request(connection):
    """Return a request with its body, or as much as came of it; or what is no request."""
    data = part = connection.recv(65536)
    while part and data.startswith(b"POST") and not is_whole(data):
        part = connection.recv(65536)
        data += part
    return data


def is_whole(request):
    head, blank, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(blank and length and len(body) >= int(length[1]))


def sends(data):
    return lambda connection: connection.sendall(data)


def for_ever(chunk, first=b"", pause=0.0):
    """Send chunk after chunk; only a cut ends it."""

    def answer(connection):
        connection.sendall(first)
        while True:
            connection.sendall(chunk)
            time.sleep(pause)

    return answer


def test_a_message_is_posted_as_json():
    with endpoint(sends(OK)) as (url, seen):
        assert post(url, b'{"a": 1}', seconds=PATIENCE) == 200
    head, body = seen[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json" in head
    assert json.loads(body) == {"a": 1}


def test_the_bytes_are_posted_as_they_are_with_the_headers_given():
    with endpoint(sends(OK)) as (url, seen):
        assert post(url, b'{"a":  1}', seconds=PATIENCE, headers={"webhook-id": "7"}) == 200
    head, body = seen[0].split(b"\r\n\r\n")
    assert b"\r\nwebhook-id: 7\r\n" in head + b"\r\n"
    assert body == b'{"a":  1}'


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://client-01:8101/x", "client-01:8101"),
        ("https://Client.Test", "client.test:443"),
        ("http://me:secret@client.test/", "client.test:80"),
        ("http://[::1]:5/", "::1:5"),
        ("http://[bad/", "http://[bad/"),
    ],
)
def test_an_address_is_where_a_url_leads(url, expected):
    assert posting.address(url) == expected


def test_nothing_of_ours_goes_along(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login us password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://us:secret@127.0.0.1:1/")
    with endpoint(sends(OK)) as (url, seen):
        assert post(url, b"{}", seconds=PATIENCE) == 200
    assert b"uthorization" not in seen[0]


@pytest.mark.parametrize(
    "answer",
    [
        for_ever(b"x", pause=0.05),
        for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.05),
        lambda connection: connection.recv(1),
    ],
    ids=["status", "continue", "silence"],
)
def test_a_receiver_that_never_comes_to_the_point_is_cut_off(answer):
    with endpoint(answer) as (url, _), pytest.raises(Unreachable):
        post(url, b"{}", seconds=1)


def test_headers_that_never_end_are_cut_off():
    answer = for_ever(b"x", b"HTTP/1.1 200 OK\r\nX: ", pause=0.05)
    with endpoint(answer) as (url, _), suppress(Unreachable):  # on a machine that is very slow
        assert post(url, b"{}", seconds=1) == 200


def test_a_receiver_that_never_finishes_tls_is_cut_off():
    # A record's header announces more than ever comes.
    drip = for_ever(b"\0", b"\x16\x03\x03\x40\x00", pause=0.05)
    with endpoint(drip) as (url, _), pytest.raises(Unreachable):
        post(url.replace("http:", "https:"), b"{}", seconds=1)


@pytest.mark.parametrize("status", [200, 302, 307])
def test_an_endless_body_is_not_read(status):
    head = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\n\r\n".encode()
    with endpoint(for_ever(b"x" * 65536, head)) as (url, _):
        assert post(url, b"{}", seconds=PATIENCE) == status


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 400_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_http_is_none(data):
    with endpoint(sends(data)) as (url, _), pytest.raises(Unreachable):
        post(url, b"{}", seconds=PATIENCE)


@pytest.mark.parametrize(
    "url", ["", "x", "http://", "http://[bad/", "http://a\x01b/", "http://.../", "http://é..x/"]
)
def test_a_url_that_is_none_reaches_nobody(url):
    with pytest.raises(Unreachable):
        post(url, b"{}", seconds=1)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "0"])
def test_loopback_is_not_reached_by_the_unspecified_address(host):
    with endpoint(sends(OK)) as (url, seen), pytest.raises(Unreachable):
        post(url.replace("127.0.0.1", host), b"{}", seconds=10)
    assert seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"])
def test_a_denied_network_is_not_reached_by_any_name(settings, host):
    settings.FL_NOTIFY_DENY = [ip_network("127.0.0.0/8"), ip_network("::1")]
    with endpoint(sends(OK)) as (url, seen), pytest.raises(Unreachable):
        post(url.replace("127.0.0.1", host), b"{}", seconds=PATIENCE)
    assert seen == []


def test_other_networks_are_reached(settings):
    settings.FL_NOTIFY_DENY = [ip_network("10.0.0.0/8"), ip_network("::1")]
    with endpoint(sends(OK)) as (url, _):
        assert post(url, b"{}", seconds=PATIENCE) == 200


def test_an_international_name_is_looked_up(monkeypatch):
    with pytest.raises(Unreachable, match="unknown host"):
        post("http://b\u00fccher.invalid/", b"{}", seconds=PATIENCE)


def test_a_status_is_known_before_the_body_comes():
    go_on = threading.Event()

    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        go_on.wait(PATIENCE)

    with endpoint(answer) as (url, _):
        assert post(url, b"{}", seconds=PATIENCE) == 200
        go_on.set()


SLOW_RESOLVER = r"""
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *a, const char *b, const struct addrinfo *c, struct addrinfo **d) {
    sleep(1000);
    return EAI_FAIL;
}
"""
GIVES_UP = """
from django import setup
setup()
from fl_server_ai.notification import posting
try:
    posting.post("http://slow.test/", b"{}", seconds=0.2)
except posting.Unreachable as error:
    print(error)
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_a_name_that_nobody_resolves_in_time_is_given_up(tmp_path):
    """In a process whose resolver hangs; neither the post nor the process's end waits for it."""
    source, library = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(SLOW_RESOLVER)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "DJANGO_SETTINGS_MODULE": "fl_server.settings",
    }
    command = [sys.executable, "-c", GIVES_UP]
    said = subprocess.check_output(command, cwd=ROOT, env=environment, timeout=PATIENCE, text=True)
    assert said == "no answer in time\n"


@pytest.fixture
def certificate(tmp_path):
    """One for 127.0.0.1 that nobody has signed but itself, with its key, in a file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    signed = made.add_extension(host, critical=False).sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "certificate"
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *form) + signed.public_bytes(pem))
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_only_certificates_that_are_trusted_count(certificate, monkeypatch, trusted):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if trusted:
        monkeypatch.setitem(posting.OPTIONS, pycurl.CAINFO, str(certificate))
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        served = pool.submit(answer_one, context, listener)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        if trusted:
            assert post(url, b"{}", seconds=PATIENCE) == 200
        else:
            with pytest.raises(Unreachable, match="no HTTP"):
                post(url, b"{}", seconds=PATIENCE)
    assert served.result() == trusted


def answer_one(context, listener):
    """Answer a request; return whether there was one, and no quarrel about the certificate."""
    connection = listener.accept()[0]
    connection.settimeout(PATIENCE)
    with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
        read_request(tls)
        tls.sendall(OK)
        return True
    return False
