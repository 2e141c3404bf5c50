"""`/metrics/`: who may ask, what is told, and that counting is in nobody's way.

`pytest tests/server/test_metrics.py --write-docs` writes the table in docs/metrics.md anew.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.utils import timezone
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from fl_server import gauges, metrics
from fl_server_ai import enqueue
from fl_server_core import counters
from fl_server_core.models import Checkpoint, Training
from tests.compose import ROOT
from tests.factories import (
    LocalModelFactory,
    ModelFactory,
    NotificationFactory,
    TrainingFactory,
    UserFactory,
)
from tests.metrics import exported
from tests.server.conftest import started
from tests.servers import free_port
from tests.waiting import PATIENCE, wait_until

TOKEN = "a token of some length"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
DOCUMENT = ROOT / "docs" / "metrics.md"
ROWS = re.compile(r"(?<=\| --- \| --- \| --- \| --- \|\n).*?(?=\n?A request's)", re.DOTALL)


@pytest.fixture
def ask(db, client, settings, monkeypatch):
    """A function that reads `/metrics/`, asking anew; it returns values by name and labels."""
    settings.FL_METRICS_TOKEN = TOKEN
    monkeypatch.setattr(gauges, "KEPT_FOR", 0)

    def read(**headers):
        response = client.get("/metrics/", headers=KNOWN | headers)
        assert response.status_code == 200
        return samples(response.text)

    return read


def samples(text):
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where this process counts meanwhile."""
    monkeypatch.setenv(counters.FOLDER, "")
    monkeypatch.setattr(values, "ValueClass", None)
    monkeypatch.setattr(counters, "_has_files", set())
    counters.begin(tmp_path)
    yield tmp_path
    monkeypatch.delenv(counters.FOLDER)
    for collector in counters.COUNTED._collector_to_names:
        collector.clear()


def test_nobody_may_ask_while_no_token_is_set(client):
    for headers in ({}, KNOWN, {"Authorization": "Bearer "}):
        assert client.get("/metrics/", headers=headers).status_code == 404


@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer other", f"Token {TOKEN}", "Bearer ü"])
def test_a_stranger_is_told_nothing(client, settings, sent):
    settings.FL_METRICS_TOKEN = TOKEN
    response = client.get("/metrics/", headers={"Authorization": sent})
    assert (response.status_code, response.content) == (401, b"")
    assert client.post("/metrics/", headers=KNOWN).status_code == 405


def test_it_may_be_asked_by_any_address_of_its_own_also_where_clients_must_use_tls(ask, settings):
    settings.SECURE_SSL_REDIRECT = True
    assert ask(Host="172.18.0.7:8000")


def test_the_rows_are_counted(ask):
    anna, model = UserFactory(), ModelFactory(round=2, size=1000, file="global")
    training = TrainingFactory(
        state="O", phase="update", model=model, target_num_updates=5, participants=[anna]
    )
    late = timezone.now() - timedelta(minutes=2)
    Training.objects.update(check_at=late)
    call = {"training": training, "type": "UPDATE_ROUND_START", "round": 2}
    NotificationFactory(**call, receiver=anna, state="failed")
    NotificationFactory(**call, receiver=UserFactory(), next_attempt_at=late)
    NotificationFactory(**call | {"round": 1}, receiver=anna, state="failed")
    LocalModelFactory(base_model=model, owner=anna, round=2, file="update", size=10)
    version = {"model": model, "attempt": 0, "sha256": ""}
    Checkpoint.objects.create(**version, round=1, file="first", size=500)
    Checkpoint.objects.create(**version, round=2, file="global", size=1000)
    TrainingFactory(state="C")
    told = ask()
    wanted = {
        ("fl_trainings", "ongoing"): 1,
        ("fl_trainings", "completed"): 1,
        ("fl_rounds_to_go",): 3,
        ("fl_rounds_merged",): 2,
        ("fl_participants", "pending"): 1,
        ("fl_participants", "lost"): 1,
        ("fl_updates",): 1,
        ("fl_updates_waiting",): 1,
        ("fl_notifications_pending", "post"): 1,
        ("fl_stored_bytes", "models"): 1000,
        ("fl_stored_bytes", "updates"): 10,
        ("fl_stored_bytes", "versions"): 500,
        ("fl_source_up", "database"): 1,
    }
    assert {name: told.get(name) for name in wanted} == wanted
    assert 119 < told["fl_overdue_seconds", "training"] < 600
    assert 119 < told["fl_overdue_seconds", "notification"] < 600


def test_the_tasks_that_wait_are_counted(ask):
    before = ask()["fl_queue_messages", "rounds"]
    enqueue.send("merge_round", "nobody's", 0, 0)
    assert ask()["fl_queue_messages", "rounds"] == before + 1


def test_what_can_not_be_asked_is_left_out(ask, monkeypatch, caplog):
    def broken():
        raise OSError("password=secret")

    monkeypatch.setitem(gauges.SOURCES, "broker", (broken,))
    told = ask()
    assert (told["fl_source_up", "broker"], told["fl_source_up", "database"]) == (0, 1)
    assert not [name for name in told if name[0] == "fl_queue_messages"]
    assert "password=secret" in caplog.text


def test_few_queries_whatever_there_is_and_none_within_some_seconds(
    db, django_assert_max_num_queries, django_assert_num_queries
):
    for _ in range(5):
        TrainingFactory(state="O", phase="update", participants=[UserFactory()])
    asked = gauges.Gauges()
    with django_assert_max_num_queries(16):
        known = asked.collect()
    with django_assert_num_queries(0):
        assert asked.collect() is known


def test_requests_are_counted_by_pattern_and_never_by_what_a_client_makes_up(ask, folder, client):
    user = UserFactory()
    for path in (f"/api/users/{user.pk}/", "/api/users/7/", "/nowhere/1/", "/nowhere/2/"):
        client.generic("BREW", path)
    told = ask()
    requests = {name[1:]: value for name, value in told.items() if name[0].endswith("sts_total")}
    assert sum(requests.values()) == 4
    assert {method for method, _, _ in requests} == {"other"}
    assert requests["other", "", "404"] >= 2
    assert not [name for name in told if str(user.pk) in "".join(name)]


def test_work_is_counted(ask, folder):
    with counters.merging("updates", 100):
        pass
    with pytest.raises(OSError, match="disk"), counters.merging("updates", 10):
        raise OSError("disk")
    counters.count_delivery("refused")
    counters.count_run("died")
    told = ask()
    assert told["fl_merge_seconds_count", "updates", "merged"] == 1
    assert told["fl_merge_seconds_count", "updates", "failed"] == 1
    assert told["fl_merge_bytes_total", "updates"] == 100
    assert told["fl_deliveries_total", "refused"] == told["fl_runs_total", "died"] == 1


def test_a_full_disk_is_in_nobodys_way(folder, monkeypatch, caplog):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with counters.merging("updates", 1):
        pass
    assert "nothing is counted: No space left" in caplog.text
    assert list(folder.iterdir()) == []


def test_files_are_made_in_full_and_suffice_for_all_there_is_to_count(folder):
    from django.urls import get_resolver

    def routes(patterns, before=""):
        for pattern in patterns:
            route = before + str(pattern.pattern)
            yield from routes(getattr(pattern, "url_patterns", ()), route)
            yield route

    for route in routes(get_resolver().url_patterns):
        for method in ("GET", "POST", "PATCH", "DELETE"):
            for status in (200, 400, 401, 404):
                counters.count_request(route, method, status, 0.1)
    assert {path.stat().st_size for path in folder.iterdir()} == {counters.FILE_BYTES}


FORKING = """
import os, sys
import django
django.setup()
from pathlib import Path
from fl_server import metrics, processes
from fl_server_core import counters
processes.preload()
folder = Path(sys.argv[1])
counters.begin(folder)
assert not list(folder.iterdir())  # nothing is open that a fork would share
for _ in range(3):
    if not os.fork():
        for _ in range(100):
            counters.count_delivery("delivered")
        os._exit(0)
for _ in range(3):
    assert os.wait()[1] == 0
print(metrics.counted().decode())
"""


def test_processes_that_are_forked_count_together(tmp_path):
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "fl_server.settings"}
    done = subprocess.run(
        [sys.executable, "-c", FORKING, tmp_path], env=environment, capture_output=True, text=True
    )
    assert samples(done.stdout) == {("fl_deliveries_total", "delivered"): 300}, done.stderr


def test_without_a_token_no_folder_is_made(settings, tmp_path):
    metrics.begin_counting(tmp_path / "metrics")
    metrics.tell_beside()
    assert not (tmp_path / "metrics").exists()
    assert counters.FOLDER not in os.environ


def test_a_server_begins_at_nothing_and_tells_of_all_its_processes(tmp_path):
    old = tmp_path / "data" / "metrics" / "counter_1.db"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    with started(tmp_path, FL_METRICS_TOKEN=TOKEN, FL_WEB_WORKERS="2") as server:
        url = server.read("stdout").split()[1]
        for _ in range(30):
            server.get("/health/")
        answer = requests.get(f"{url}/metrics/", headers=KNOWN, timeout=PATIENCE)
        assert samples(answer.text)["fl_http_requests_total", "GET", "health/", "200"] == 30
        check(answer.text)
        server.end(signal.SIGTERM)


def check(text):
    """Have promtool look at what is told, where there is one."""
    if shutil.which("promtool"):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_promtool_has_nothing_to_say_about_what_is_told(ask, folder, client):
    if shutil.which("promtool") is None:
        pytest.skip("promtool (of Prometheus) is not installed")
    test_work_is_counted(ask, folder)
    check(client.get("/metrics/", headers=KNOWN).text)


def test_a_worker_tells_at_its_port_as_long_as_it_lives(tmp_path):
    port = free_port()
    environment = os.environ | {"FL_DATA_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    worker = subprocess.Popen(
        [sys.executable, "-m", "fl_server.processes", "notify"],
        cwd=ROOT,
        env=environment | {"FL_METRICS_TOKEN": TOKEN, "FL_METRICS_PORT": str(port)},
        stderr=subprocess.DEVNULL,
    )

    def status(path="/metrics/", **headers):
        try:
            return requests.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=10)
        except requests.ConnectionError:
            return None

    try:
        wait_until(lambda: status() is not None)
        assert status().status_code == 401
        assert status("/admin/", **KNOWN).status_code == 404
        assert status(**KNOWN).status_code == 200
    finally:
        worker.kill()
        worker.wait()
    wait_until(lambda: status() is None)


def rendered():
    rows = sorted(exported().items())
    return "".join(
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {says} |\n"
        for name, (kind, labels, says) in rows
    )


def test_the_table_in_the_docs_is_what_is_told(db, pytestconfig):
    text = DOCUMENT.read_text()
    if pytestconfig.getoption("--write-docs"):
        text = ROWS.sub(lambda _: rendered(), text)
        DOCUMENT.write_text(text)
    assert ROWS.search(text)[0] == rendered()
