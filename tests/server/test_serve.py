"""`manage.py serve`: real processes, real signals."""

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.api.conftest import make_module, saved
from tests.server.conftest import MANAGE, Server, processes, started
from tests.servers import Redis
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("serve")]


def serve(folder, **environment):
    """Run a serve that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, MANAGE, "serve", "--port", "0", "--data-dir", folder],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_data_lie_in_the_folder_asked_for_alone(server):
    names = {path.name for path in server.folder.iterdir()}
    assert names == {"data", "stdout", "stderr"}
    assert (server.folder / "data" / "db.sqlite3").exists()


def test_only_the_rounds_worker_loads_torch(server):
    listed = server.descendants()
    maps = {pid: Path(f"/proc/{pid}/maps") for pid in listed}
    if not all(path.exists() for path in maps.values()):
        pytest.skip("this system does not list a process's libraries")
    loaded = {listed[pid] for pid, path in maps.items() if "libtorch" in path.read_text()}
    assert loaded
    assert all("rounds@" in command for command in loaded)


def test_its_processes_share_what_they_have_imported(server):
    rollups = [Path(f"/proc/{pid}/smaps_rollup") for pid in server.descendants()]
    if not all(path.exists() for path in rollups):
        pytest.skip("this system does not tell what processes share")
    resident, proportional = (
        sum(
            int(re.search(rf"^{size}: +(\d+) kB", path.read_text(), re.MULTILINE)[1])
            for path in rollups
        )
        for size in ("Rss", "Pss")
    )
    # A process that imports all for itself shares the libraries' code alone: then it is half.
    assert proportional < 0.4 * resident


def test_the_log_tells_at_the_start_what_holds_models(server):
    wait_until(lambda: "the cage" in (log := server.read("stderr")) or "in a cage" in log)
    [line] = [line for line in server.read("stderr").splitlines() if "holding: " in line]
    assert "serving" in line


@pytest.mark.parametrize("part", ["gunicorn", "-Q rounds", "--quiet beat"])
def test_a_killed_child_comes_back(server, part):
    killed = server.child(part)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in processes())
    wait_until(lambda: any(part in command for command in server.descendants().values()))
    wait_until(lambda: server.get("/health/ready/").ok)


def test_while_nobody_reads_its_log_it_starts_and_ends(tmp_path):
    os.mkfifo(tmp_path / "stderr")
    reader = os.open(tmp_path / "stderr", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"\n" * 4096)
    server = Server(tmp_path)
    try:
        wait_until(lambda: "\n" in server.read("stdout"))
        assert server.get("/health/").ok
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(timeout=PATIENCE) == 0
    finally:
        server.process.kill()
        server.process.wait()
        os.close(reader)
        os.close(writer)


def test_it_is_ready_no_sooner_than_its_workers_are(tmp_path):
    redis = Redis()
    server = Server(tmp_path, FL_REDIS_HOST="127.0.0.1", FL_REDIS_PORT=str(redis.port))
    try:
        wait_until(lambda: "Booting worker" in server.read("stderr"))
        wait_until(lambda: server.read("stderr").count("Cannot connect") >= 3)
        assert server.read("stdout") == ""
        with redis:
            server.wait_until_ready()
            server.end(signal.SIGTERM)
    finally:
        server.process.kill()
        server.process.wait()


def test_from_other_machines_it_is_reached_as_it_says_once_that_is_allowed(tmp_path):
    with started(tmp_path, "--host", "0.0.0.0") as server:
        lines = server.read("stdout").splitlines()
        elsewhere = [line.split()[-1] for line in lines if line.startswith("From other machines")]
        assert elsewhere
        assert lines[0].startswith("ready http://127.0.0.1:")
        assert server.get("/health/").ok
        host = elsewhere[0].removeprefix("http://")
        answer = requests.get(
            server.read("stdout").split()[1] + "/health/", headers={"Host": host}, timeout=PATIENCE
        )
        assert answer.status_code == 400
    setting, *command = shlex.split(lines[-1])
    assert host.rsplit(":", 1)[0] in setting.removeprefix("FL_DJANGO_ALLOWED_HOSTS=").split(",")
    assert command[0] == sys.executable
    assert command[2:4] == ["serve", "--port"]


def test_a_second_serve_on_the_same_folder_is_refused(server):
    second = serve(server.folder / "data")
    assert second.returncode != 0
    assert "Another server is running on the folder" in second.stderr
    assert server.get("/health/").ok


def test_a_taken_port_is_told(server, tmp_path):
    port = server.read("stdout").rsplit(":", 1)[1].strip()
    command = [sys.executable, MANAGE, "serve", "--port", port, "--data-dir", tmp_path]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert f"Can't listen on http://127.0.0.1:{port}" in second.stderr


def test_nobody_else_reads_the_data_and_ctrl_c_ends_all_processes(tmp_path):
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True)
    (data / "models" / "of an earlier version").write_text("x")
    for path in (data, *data.rglob("*")):
        path.chmod(0o755)
    with started(tmp_path) as server:
        api = server.read("stdout").split()[1] + "/api"
        ann = {"username": "ann", "password": "secret"}
        token = requests.post(f"{api}/users/", json=ann, timeout=30).json()["token"]
        uploaded = requests.post(
            f"{api}/models/",
            data={"name": "n", "description": "d"},
            files={"model_file": saved(make_module())},
            headers={"Authorization": f"Token {token}"},
            timeout=30,
        )
        assert uploaded.status_code == 201
        wait_until(lambda: server.get("/health/ready/").ok)
        server.end(signal.SIGINT)
    (line,) = server.read("stdout").splitlines()
    assert line.startswith("ready http://127.0.0.1:")
    modes = {path: path.lstat().st_mode for path in (data, *data.rglob("*"))}
    assert {"db.sqlite3", "secret_key", "models", "broker"} <= {path.name for path in modes}
    assert [path for path, mode in modes.items() if mode & 0o077] == []


def test_no_process_survives_a_serve_that_is_killed(tmp_path):
    with started(tmp_path) as server:
        pids = server.descendants()
        server.process.kill()
        server.process.wait()
    wait_until(lambda: not pids.keys() & processes().keys())


def test_serve_gives_up_on_a_process_that_keeps_dying(tmp_path):
    server = Server(tmp_path, GUNICORN_CMD_ARGS="--no-such-option")
    try:
        assert server.process.wait(timeout=PATIENCE) == 1
    finally:
        server.process.kill()
    last = server.read("stderr").splitlines()[-1]
    assert last.startswith("CommandError: web died 5 times")


def test_a_wrong_setting_stops_the_start_with_its_sentence(tmp_path):
    refused = serve(tmp_path, FL_MAX_UPLOAD_BYTES="abc")
    assert refused.returncode != 0
    assert "FL_MAX_UPLOAD_BYTES must be an integer of at least 1, not 'abc'." in refused.stderr
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr
