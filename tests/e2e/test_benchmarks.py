"""The benchmarks go through; how long anything takes is judged by nobody."""

import gzip
import json
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import exchange
from benchmarks.bench.__main__ import measure
from benchmarks.bench.people import site
from benchmarks.bench.rows import SMOKE
from benchmarks.bench.topologies import Stage
from benchmarks.serving import Serving
from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.e2e


def test_every_family_of_the_bench_finds_its_rows(embedded, embedded_serve, tmp_path):
    serving = Serving(embedded, embedded_serve.process.pid, embedded_serve.folder / "var", {})
    with site(serving) as shared:
        rows = list(measure(Stage(tmp_path, SMOKE, shared)))
    works = {row.work.split(",")[0] for row in rows if row.figure}
    assert works >= {"merge 3 x 1 MB", "GET /trainings/", "round of 20 polling participants"}


def test_no_round_is_lost_over_links_that_are_cut():
    small = ["--megabytes", "3", "--clients", "2", "--rounds", "2", "--chunk", "1"]
    command = [sys.executable, "-m", "benchmarks.links", *small]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "rounds with all updates: 2 of 2" in told
    assert int(re.search(r"connections cut: (\d+)", told)[1]) > 0


def run(*command):
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)


def test_mnist_learns_through_the_server_and_goes_on_where_it_was(embedded, tmp_path):
    dice = np.random.default_rng(0)
    for part, count in (("train", 80), ("t10k", 20)):
        images = dice.integers(0, 256, (count, 28, 28), np.uint8).tobytes()
        digits = dice.integers(0, 10, count, np.uint8).tobytes()
        for name, head, content in (
            (f"{part}-images-idx3-ubyte.gz", (2051, count, 28, 28), images),
            (f"{part}-labels-idx1-ubyte.gz", (2049, count), digits),
        ):
            data = struct.pack(f">{len(head)}I", *head) + content
            (tmp_path / name).write_bytes(gzip.compress(data, 1))
    command = [
        ROOT / "benchmarks" / "mnist.py", "--data-dir", tmp_path, "--state-dir", tmp_path,
        "--url", embedded, "--split", "shards", "--clients", "4", "--sample", "0.5",
        "--epochs", "1", "--processes", "1", "--until", "1.1", "--rounds",
    ]  # fmt: skip
    run(*command, 1)
    [first] = json.loads((tmp_path / "shards.json").read_text())["accuracies"]
    run(*command, 2)
    accuracies = json.loads((tmp_path / "shards.json").read_text())["accuracies"]
    assert len(accuracies) == 2
    assert accuracies[0] == first


def test_every_way_of_sending_is_measured(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["exchange.py"])
    monkeypatch.setattr(exchange, "ROUNDS", 1)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    exchange.main()
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1].strip() for row in rows] == [way.label for way in exchange.WAYS]
    assert all(float(row[-2]) > 0.2 for row in rows)
