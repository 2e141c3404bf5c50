"""The audit log of a real server: its rows, and its file."""

import json
import os
import stat
import subprocess
import sys

import pytest
import requests

from tests.e2e.conftest import ROOT, running_server
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e


def exported(environment):
    command = [sys.executable, "manage.py", "audit_log"]
    told = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return told.stdout.splitlines()


def test_acts_stand_in_the_file_and_the_settings_once_for_all_processes(tmp_path):
    path = tmp_path / "acts"
    environment = {"FL_AUDIT_LOG": str(path), "FL_DATA_DIR": str(tmp_path / "var")}
    environment |= {"FL_WEB_WORKERS": "2"}
    with running_server(tmp_path, **environment) as url:
        body = {"username": "ann", "password": "a-rather-long-one"}
        assert requests.post(f"{url}/api/users/", json=body, timeout=PATIENCE).status_code == 201
    lines = path.read_text().splitlines()
    settings, registered = map(json.loads, lines)
    assert (settings["act"], registered["act"]) == ("settings.changed", "user.registered")
    assert settings["details"]["settings"]["FL_WEB_WORKERS"] == 2
    assert registered["address"] == "127.0.0.1"
    assert exported(environment) == lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
