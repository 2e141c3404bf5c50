import os
import signal
import subprocess
import sys

import pytest

from fl_server.demo import children as module
from fl_server.demo.children import Children, DemoError
from tests.waiting import wait_until


def script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return path


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_scripts_output_is_returned_and_kept(tmp_path):
    with Children(tmp_path) as children:
        said = children.run("hello", script(tmp_path, "import sys; print('hi', *sys.argv[1:])"), 1)
    assert said == (tmp_path / "hello.log").read_text() == "hi 1\n"


def test_a_failed_script_is_told_with_its_last_line(tmp_path):
    with Children(tmp_path) as children, pytest.raises(DemoError, match="sad failed: no luck"):
        children.run("sad", script(tmp_path, "raise SystemExit('no luck')"))


def test_the_callers_servers_are_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_POSTGRES_HOST", "production")
    with Children(tmp_path) as children:
        show = script(tmp_path, "import os; print([v for v in os.environ if v.startswith('FL_')])")
        assert children.run("show", show) == "['FL_DATA_DIR']\n"


def test_clients_keep_their_tokens_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/user/.config")
    show = (
        "from fl_client import places; places.keep('alice', 'http://x', 'token', 'secret')\n"
        "print(places.state_folder('alice', 'http://x'))"
    )
    with Children(tmp_path) as children:
        said = children.run("show", script(tmp_path, show))
    assert said.startswith(str(tmp_path / "state"))
    assert len(list((tmp_path / "config" / "fl").iterdir())) == 1


def start_and(act, folder, preparation=""):
    """Start a child that says its pid and sleeps, then act while it runs."""
    text = f"import os, signal, time\n{preparation}\nprint(os.getpid())\ntime.sleep(60)"
    with Children(folder) as children:
        children.start("sleeper", script(folder, text))
        wait_until(lambda: children.log("sleeper").read_text().endswith("\n"))
        act()


def sleeper(folder):
    return int((folder / "sleeper.log").read_text())


def test_nothing_outlives_the_context_not_even_what_ignores_sigterm(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 1)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with pytest.raises(ZeroDivisionError):
        start_and(lambda: 1 / 0, tmp_path, deaf)
    assert not lives(sleeper(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_context_and_the_handler_before_is_back(tmp_path, number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        start_and(lambda: signal.raise_signal(number), tmp_path)
    assert not lives(sleeper(tmp_path))
    assert signal.getsignal(number) is before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_children_die_with_a_killed_parent(tmp_path):
    path = script(tmp_path, "import time; time.sleep(60)")
    parent = (
        "import pathlib, sys, time; from fl_server.demo.children import Children\n"
        f"children = Children(pathlib.Path({str(tmp_path)!r}))\n"
        f"children.start('sleeper', {str(path)!r})\n"
        "print(children.running['sleeper'].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        assert lives(pid)
        process.kill()
    wait_until(lambda: not lives(pid))
