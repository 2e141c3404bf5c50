"""The proxy's configuration, and TLS as the overlay sets it up."""

import os
import shutil
import subprocess
import sys

import pytest
import requests

from tests.compose import ROOT, read_compose
from tests.servers import Nginx, free_port
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
