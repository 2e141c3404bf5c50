"""The audit log of a real server: its rows, and its file."""

import json
import os
import secrets
import stat
import subprocess
import sys

import pytest
import requests

from tests.e2e.conftest import ROOT
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e


def exported(folder):
    command = [sys.executable, "manage.py", "audit_log"]
    environment = os.environ | {"FL_DATA_DIR": str(folder / "var")}
    told = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return told.stdout.splitlines()


def test_acts_stand_in_the_file_and_the_settings_once_for_all_processes(embedded_serve):
    path, name = embedded_serve.folder / "acts", secrets.token_hex(8)
    body = {"username": name, "password": secrets.token_hex(16)}
    url = f"{embedded_serve.url}/api/users/"
    assert requests.post(url, json=body, timeout=PATIENCE).status_code == 201
    lines = path.read_text().splitlines()
    acts = [json.loads(line) for line in lines]
    [noted] = [act for act in acts if act["act"] == "settings.changed"]
    assert noted["details"]["settings"]["FL_AUDIT_LOG"] == str(path)
    [registered] = [act for act in acts if act["details"].get("name") == name]
    assert (registered["act"], registered["address"]) == ("user.registered", "127.0.0.1")
    assert sorted(exported(embedded_serve.folder)) == sorted(lines)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
