"""What watches over the processes of a server."""

import json
import os

import pytest

from fl_server.management.commands.serve import show_json
from fl_server.processes import COMMANDS
from fl_server.readiness import READY_PIPE, report_ready
from fl_server.supervisor import PIECE, Pipes, awaiting


@pytest.fixture
def pipes():
    return Pipes()


def read(pipes):
    while pipes.read(0):
        pass


def test_it_is_ready_when_each_process_has_reported(pipes, monkeypatch):
    told = []
    said = pipes.open(awaiting(set(COMMANDS), lambda: told.append(1)))
    *first, last = COMMANDS
    for name in (*first, *first, last, last):  # one that dies is started again, and reports again
        read(pipes)
        assert not told or name == last
        monkeypatch.setenv(READY_PIPE, f"{said}:{name}")
        report_ready()
    read(pipes)
    assert told == [1]
    os.close(said)


def test_later_reports_to_nobody_do_no_harm(monkeypatch):
    heard, said = os.pipe()
    os.close(heard)
    monkeypatch.setenv(READY_PIPE, f"{said}:web")
    report_ready()
    os.close(said)


def test_without_a_supervisor_nothing_is_reported(monkeypatch):
    monkeypatch.delenv(READY_PIPE, raising=False)
    report_ready()


def test_lines_of_several_processes_are_told_apart_and_whole(pipes):
    lines = []
    ends = [pipes.open(lambda line, n=n: lines.append((n, line))) for n in range(2)]
    long = "x" * 3 * PIECE
    os.write(ends[0], b"first of 0\nsecond ")
    os.write(ends[1], long.encode() + b"\n\xff\n")
    read(pipes)
    os.write(ends[0], b"of 0\nwithout an end")
    for end in ends:
        os.close(end)
    read(pipes)
    assert [line for n, line in lines if n == 0] == ["first of 0", "second of 0", "without an end"]
    assert [line for n, line in lines if n == 1] == [long, "\N{REPLACEMENT CHARACTER}"]


def test_in_json_every_line_is_an_object_and_those_of_the_log_stay_as_they_are(capsys):
    logged = '{"time": "2026-11-28T09:00:00.000+00:00", "message": "it works"}'
    said = {"web": logged, "rounds": "Killed", "serve": "rounds died with SIGKILL"}
    for name, line in said.items():
        show_json(name, line)
    first, *others = capsys.readouterr().err.splitlines()
    assert first == logged
    told = [(line["process"], line["message"], line["level"]) for line in map(json.loads, others)]
    assert told == [("rounds", "Killed", "INFO"), ("serve", said["serve"], "WARNING")]
