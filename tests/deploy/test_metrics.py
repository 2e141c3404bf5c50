"""Alerts and dashboard ask for what the server tells."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.compose import ROOT, read_compose
from tests.metrics import exported, names_in

PROMETHEUS = ROOT / "deploy" / "prometheus"
SCRAPE = yaml.safe_load((PROMETHEUS / "scrape.yml").read_text())
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())


def alerts():
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def shown():
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }


@pytest.mark.django_db
@pytest.mark.parametrize("name", [*alerts(), *shown()])
def test_what_is_asked_for_exists(name):
    known = exported()
    expression = (alerts() | shown())[name]
    assert names_in(expression, known) <= known.keys()
    grouped = re.findall(r"by \(([\w, ]+)\)", expression)
    labels = {label for words in grouped for label in re.split(", *", words)} - {"le"}
    labels |= set(re.findall(r'(\w+)(?:=|!=|=~)"', expression)) - {"job"}
    assert labels <= {label for metric in names_in(expression, known) for label in known[metric][1]}


@pytest.mark.django_db
def test_the_dashboard_shows_every_metric_but_whether_it_is_there():
    known = exported()
    asked = set().union(*(names_in(text, known) for text in shown().values()))
    assert known.keys() - asked == {"fl_source_up", "fl_disk_bytes"}


def test_each_panel_has_a_place_and_an_id_of_its_own():
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]}
    ids = {panel["id"] for panel in DASHBOARD["panels"]}
    assert len(places) == len(ids) == len(DASHBOARD["panels"])
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["source"]


def test_prometheus_asks_the_containers_that_count():
    services = read_compose("deploy/metrics.yml")["services"]
    [job] = SCRAPE["scrape_configs"]
    asked = {name: entry["port"] for entry in job["dns_sd_configs"] for name in entry["names"]}
    port = int(services["rounds"]["environment"]["FL_METRICS_PORT"])
    workers = ("rounds", "notify", "serving", "summaries")
    assert asked == {"web": 8000} | dict.fromkeys(workers, port)
    assert all("front" in services[name]["networks"] for name in asked)


@pytest.mark.parametrize("check", [["rules", "alerts.yml"], ["config", "scrape.yml"]])
def test_promtool_accepts(check, tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool (of Prometheus) is not installed")
    for name in ("alerts.yml", "scrape.yml"):
        text = (PROMETHEUS / name).read_text().replace("/etc/prometheus", str(tmp_path))
        (tmp_path / name).write_text(text)
    (tmp_path / "metrics_token").write_text("token")
    done = subprocess.run(
        ["promtool", "check", *check], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
