"""Many who send slowly hold up nobody, with and without a proxy."""

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.e2e.people import Person

pytestmark = pytest.mark.e2e

HEAD = "POST /api/models/ HTTP/1.1\r\nHost: localhost\r\n"
STARTS = {
    "heads": HEAD,
    "bodies": HEAD + "Content-Length: 1000\r\n\r\n{",
    "uploads": HEAD + "Content-Type: multipart/form-data; boundary=b\r\n"
    "Authorization: Token {token}\r\nContent-Length: 10000000\r\n\r\n--b\r\n",
}


@pytest.mark.parametrize("start", STARTS)
def test_half_sent_requests_of_one_address_leave_threads_to_all_others(server, start):
    person = Person(server)
    address = urlsplit(server)
    token = person.session.headers["Authorization"].split()[1]
    with ExitStack() as stack:
        for _ in range(64):
            connection = socket.create_connection((address.hostname, address.port))
            stack.enter_context(connection)
            connection.sendall(STARTS[start].replace("{token}", token).encode())
        for number in range(5):
            assert person.ask("GET", "/users/myself/", expect=200)["id"] == person.id
            person.ask("POST", "/groups/", json={"name": f"{start} {number}"})
