"""Passwords that each of several web processes remembers."""

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.server.web import running_web
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e


def test_what_one_process_changes_all_of_them_heed_at_once(tmp_path):
    with running_web(tmp_path, workers=2, threads=24) as port:
        api = f"http://127.0.0.1:{port}/api/users/"
        form = {"username": "ann", "password": "old"}
        requests.post(api, json=form, timeout=PATIENCE).raise_for_status()

        def statuses(password):
            """Of requests at once over connections of their own, so that every process has some."""
            with ThreadPoolExecutor(4) as pool:
                ask = lambda _: requests.get(api, auth=("ann", password), timeout=PATIENCE)  # noqa: E731
                return Counter(answer.status_code for answer in pool.map(ask, range(4)))

        assert statuses("old") == {200: 4}
        change = {"password": "new", "old_password": "old"}
        answer = requests.patch(f"{api}myself/", json=change, auth=("ann", "old"), timeout=PATIENCE)
        answer.raise_for_status()
        assert statuses("old") == {401: 4}
        assert statuses("new") == {200: 4}
        with sqlite3.connect(tmp_path / "db.sqlite3", timeout=30) as database:
            database.execute("UPDATE fl_server_core_user SET is_active = 0")
        assert statuses("new") == {401: 4}
