"""One invitation and many who come with it at the same moment: it lets one of them in."""

import os
import secrets
import subprocess
import sys
from functools import partial

import pytest
import requests

from tests.e2e.conftest import ROOT, running_server
from tests.e2e.crowd import at_once
from tests.servers import Postgres, find_binary
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

CROWD = 8
NEEDED = "Registration needs the invitation code, as the field 'invitation'."
MEANWHILE = "This invitation was used meanwhile."


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request, tmp_path):
    """What a server that asks for invitations is started with, and a command beside it."""
    common = {"FL_REGISTRATION": "invitation", "FL_DATA_DIR": str(tmp_path / "var")}
    common |= {"FL_WEB_WORKERS": "2", "FL_DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
    if request.param == "sqlite":
        yield common
    elif find_binary(Postgres.program) is None:
        pytest.skip("PostgreSQL is not installed")
    else:
        with Postgres() as database:
            yield common | database.database("fl")


def invite(environment):
    command = [sys.executable, "manage.py", "invite"]
    told = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return told.stdout.strip()


def register(url, code):
    name = secrets.token_hex(8)
    body = {"username": name, "password": secrets.token_hex(16), "invitation": code}
    return requests.post(f"{url}/api/users/", json=body, timeout=PATIENCE)


def test_of_many_at_once_an_invitation_lets_one_in(environment, tmp_path):
    with running_server(tmp_path, **environment) as url:
        let_in = []
        for _ in range(3):
            code = invite(environment)
            answers = at_once(*(partial(register, url, code) for _ in range(CROWD)))
            assert sorted(answer.status_code for answer in answers) == [201] + [403] * (CROWD - 1)
            told = {answer.json().get("detail") for answer in answers}
            assert told <= {None, NEEDED, MEANWHILE}
            let_in += [answer.json() for answer in answers if answer.ok]
        headers = {"Authorization": f"Token {let_in[0]['token']}"}
        users = requests.get(f"{url}/api/users/", headers=headers, timeout=PATIENCE).json()
        assert {user["id"] for user in users} == {user["id"] for user in let_in}
