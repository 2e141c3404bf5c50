"""The proxy's configuration, and TLS as the overlay sets it up."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.compose import ROOT, read_compose
from tests.servers import TEMPLATE, Nginx, free_port
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e

TLS = ROOT / "deploy" / "nginx" / "tls.conf"


@pytest.fixture
def variables():
    environment = read_compose()["services"]["proxy"]["environment"]
    return environment | {"FL_PROXY_WEB": f"127.0.0.1:{free_port()}"}


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 1"
    command += " -addext subjectAltName=DNS:localhost -keyout tls_key -out tls_certificate"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "tls_certificate"


def test_nginx_accepts_the_configuration(variables):
    with Nginx(variables) as nginx:
        assert nginx.test() == ""


@pytest.mark.parametrize("body", [None, b"x" * 2000])
def test_errors_of_the_proxy_itself_are_json(variables, body):
    with Nginx(variables | {"FL_MAX_UPLOAD_BYTES": "1000"}) as nginx:
        answer = requests.post(
            f"http://127.0.0.1:{nginx.port}/api/models/", data=body, timeout=PATIENCE
        )
    if body:
        assert answer.status_code == 413
        assert answer.json() == {"detail": "The request's body is larger than 1000 bytes."}
    else:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json()["detail"].startswith("The server is starting")


@pytest.mark.parametrize("path", ["/metrics/", "/metrics", "//metrics/", "/api/../metrics/"])
def test_nobody_is_let_to_the_servers_metrics(variables, path):
    with Nginx(variables) as nginx:
        connection = HTTPConnection("127.0.0.1", nginx.port, timeout=PATIENCE)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)) == (404, {"detail": "Not found."})
        connection.close()


@contextmanager
def echoing(variables, header):
    """An nginx before a server that answers with this header of what has reached it."""

    class Web(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers[header].encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as web:
        threading.Thread(target=web.serve_forever).start()
        address = f"127.0.0.1:{web.server_address[1]}"
        try:
            with Nginx(variables | {"FL_PROXY_WEB": address}) as nginx:
                yield nginx
        finally:
            web.shutdown()


def test_nobody_says_who_it_is_but_the_proxy(variables):
    with echoing(variables, "X-Real-IP") as nginx:
        url = f"http://127.0.0.1:{nginx.port}/"
        answer = requests.get(url, headers={"X-Real-IP": "192.0.2.1"}, timeout=10)
    assert answer.text == "127.0.0.1"


def test_a_requests_id_is_handed_on_and_logged_without_its_query(variables):
    with echoing(variables, "X-Request-ID") as nginx:
        url = f"http://127.0.0.1:{nginx.port}/a?token=secret"
        sent = ("my-id.1", "x" * 65, 'a"b')
        seen = [requests.get(url, headers={"X-Request-ID": s}, timeout=10).text for s in sent]
        written = (nginx.folder / "log").read_text()
    assert seen[0] == sent[0]
    assert all(re.fullmatch("[0-9a-f]{32}", made) for made in seen[1:])
    assert "secret" not in written
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    assert [line["request"] for line in lines] == seen
    assert lines[0]["message"].startswith("GET /a: 200, ")


def test_a_request_that_stays_half_sent_is_cut_off(variables):
    slow = TEMPLATE.read_text().replace("client_header_timeout 20s", "client_header_timeout 1s")
    with ExitStack() as stack:
        port = stack.enter_context(Nginx(variables, template=slow)).port
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""


@pytest.mark.parametrize("limit", [1, 200])
def test_one_address_has_so_many_requests_under_way(variables, limit):
    few = TEMPLATE.read_text().replace("limit_conn addresses 200", f"limit_conn addresses {limit}")
    body = b"POST /api/models/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
    with ExitStack() as stack:
        # Takes connections and never answers.
        web = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"127.0.0.1:{web.getsockname()[1]}"
        nginx = stack.enter_context(Nginx(variables | {"FL_PROXY_WEB": address}, template=few))
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", nginx.port)))
        connection.sendall(body)
        stack.enter_context(web.accept()[0])
        answer = requests.get(f"http://127.0.0.1:{nginx.port}/static/x", timeout=10)
    assert answer.status_code == (429 if limit == 1 else 404)
    if limit == 1:
        assert (answer.headers["Retry-After"], list(answer.json())) == ("5", ["detail"])


def test_with_tls_plain_http_leads_there(variables, certificate):
    port = free_port()
    tls = TLS.read_text().replace("8443", f"127.0.0.1:{port}")
    tls = tls.replace("/run/secrets", str(certificate.parent))
    web = start_web(certificate.parent, variables["FL_PROXY_WEB"])
    try:
        with Nginx(variables, tls=tls) as nginx:
            plain = f"http://localhost:{nginx.port}"
            await_web(plain)
            redirect = requests.get(f"{plain}/api/schema/", timeout=PATIENCE, allow_redirects=False)
            secure = requests.get(
                f"https://localhost:{port}/api/schema/", timeout=PATIENCE, verify=certificate
            )
    finally:
        web.terminate()
        web.wait(timeout=PATIENCE)
    assert redirect.status_code == 301
    assert redirect.headers["Location"].startswith("https://localhost")
    assert secure.status_code == 200
    assert secure.headers["Strict-Transport-Security"].startswith("max-age=")


def start_web(folder, address):
    overlay = read_compose("deploy/tls.yml")["services"]["web"]["environment"]
    environment = {"FL_DATA_DIR": str(folder), "FL_TLS": overlay["FL_TLS"], "FL_WEB_WORKERS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "fl_server.processes", "web", "--bind", address],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def await_web(url):
    wait_until(lambda: requests.get(f"{url}/health/", timeout=PATIENCE).status_code == 200)
