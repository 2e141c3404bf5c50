"""The compose file and what lies over it, against the code that they start."""

import re

import pytest
from django.core.management import get_commands

from fl_server import env
from fl_server.processes import COMMANDS
from tests.compose import ROOT, read_compose

TEMPLATE = (ROOT / "deploy" / "nginx" / "server.conf.template").read_text()
OURS = [*COMMANDS, "migrate"]
OVERLAYS: list[tuple[str, ...]] = [
    (),
    *((f"deploy/{name}.yml",) for name in ("tls", "s3", "gpu", "record", "metrics", "mlflow")),
]


@pytest.fixture(params=OVERLAYS, ids=lambda overlays: " ".join(overlays) or "plain")
def compose(request):
    return read_compose(*request.param, FL_S3_BUCKET="models")


def services(compose):
    return compose["services"].items()


def test_there_is_a_service_for_each_process(compose):
    assert set(compose["services"]) == {*OURS, "runners", "proxy", "db", "redis"}
    for name in COMMANDS:
        assert compose["services"][name]["command"][0] == name
    assert compose["services"]["migrate"]["entrypoint"] == ["python", "manage.py"]
    assert compose["services"]["migrate"]["command"][0] in get_commands()


def test_every_number_among_the_settings_can_be_set_but_a_port():
    text = (ROOT / "docker-compose.yml").read_text()
    numbers = {name for name, value in env.effective.items() if type(value) is int}
    passed = set(re.findall(r"^  (\w+): \$\{\1:", text, re.MULTILINE))
    assert len(numbers) > 30
    assert {name for name in numbers if not name.endswith("_PORT")} <= passed


def test_the_settings_read_every_variable_that_is_set(compose):
    known = {name for section in env.declared.values() for each in section for name in each.names}
    for name in OURS:
        assert compose["services"][name]["environment"].keys() <= known


def test_the_workers_and_the_web_have_the_same_settings(compose):
    first, *others = [compose["services"][name]["environment"] for name in OURS]
    assert all(other | {"FL_TLS": 0} == first | {"FL_TLS": 0} for other in others)


def test_the_proxy_sets_what_its_configuration_names_and_agrees_with_the_web():
    compose = read_compose(FL_MAX_UPLOAD_BYTES="7")
    proxy = compose["services"]["proxy"]["environment"]
    web = compose["services"]["web"]["environment"]
    named = set(re.findall(r"\$\{(FL_\w+)\}", TEMPLATE))
    assert {name for name in proxy if name.startswith("FL_")} == named
    for name in ("FL_ACCEL_PREFIX", "FL_MAX_UPLOAD_BYTES"):
        assert proxy[name] == web[name]
    assert web["FL_MAX_UPLOAD_BYTES"] == "7"


def test_secrets_are_files_that_are_declared_and_granted_and_not_in_the_repository(compose):
    for _name, service in services(compose):
        granted = service.get("secrets", [])
        assert set(granted) <= set(compose["secrets"])
        files = [v for k, v in service.get("environment", {}).items() if k.endswith("_FILE")]
        assert {file.removeprefix("/run/secrets/") for file in files} <= set(granted)
        for variable in service.get("environment", {}):
            assert not re.search(r"(PASSWD|PASSWORD|SECRET|KEY)$", variable), variable
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_volumes_and_networks_are_declared_and_mounted_files_exist(compose):
    for _name, service in services(compose):
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if "/" in source else source in compose["volumes"]
        assert set(service.get("networks", [])) <= set(compose["networks"])


def test_what_runs_models_has_nothing_that_they_would_want(compose):
    runners, serving = compose["services"]["runners"], compose["services"]["serving"]
    assert runners.keys().isdisjoint({"environment", "secrets", "networks", "ports"})
    assert runners["network_mode"] == "none"
    assert runners["volumes"] == ["runners:/run/runners"]
    assert runners["volumes"][0] in serving["volumes"]
    assert runners["volumes"][0] in compose["services"]["summaries"]["volumes"]
    assert runners["cap_drop"] == ["ALL"]
    assert runners["security_opt"] == ["no-new-privileges:true"]
    assert runners["pids_limit"]
    [socket] = runners["command"]
    assert serving["environment"]["FL_RUNNERS_SOCKET"] == socket
    assert socket.startswith("/run/runners/")


def test_a_gpu_goes_to_what_computes():
    with_gpu = read_compose("deploy/gpu.yml")
    devices = "'reservations': {'devices'"
    given = [name for name, service in services(with_gpu) if devices in str(service)]
    assert given == ["rounds", "runners"]


def test_the_proxy_reads_the_models_and_never_writes_them(compose):
    volumes = {name: service.get("volumes", []) for name, service in services(compose)}
    assert "models:/srv/models:ro" in volumes["proxy"]
    for name in ("web", "rounds", "notify", "serving", "summaries"):
        assert "models:/data/models" in volumes[name]


def test_what_others_wait_for_tells_when_it_is_there(compose):
    for _name, service in services(compose):
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in compose["services"][other]
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert other == "migrate"


def test_every_lasting_service_is_watched_limited_and_started_again(compose):
    for name, service in services(compose):
        assert service["logging"]["options"]["max-size"]
        assert service["read_only"] is True
        if name == "migrate":
            continue
        assert service["restart"] == "unless-stopped"
        assert service["stop_grace_period"]
        assert {"test", "interval", "timeout", "retries"} <= service["healthcheck"].keys()
        assert service["deploy"]["resources"]["limits"]["memory"]


def test_no_service_has_more_privileges_than_its_start_needs(compose):
    beginning = {"db": {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}}
    beginning |= {"redis": {"CHOWN", "SETGID", "SETUID"}}
    for name, service in services(compose):
        assert service["cap_drop"] == ["ALL"]
        assert set(service.get("cap_add", [])) == beginning.get(name, set())
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_images_are_pinned_by_version(compose):
    images = [service["image"] for _, service in services(compose)]
    images += re.findall(r"^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for image in images:
        assert re.search(r":\d+\.\d+(\.\d+)?(-[\w.-]+)?$", image), image


def test_the_images_hold_what_is_built_from(compose):
    dockerfile = (ROOT / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM .* AS (\w+)$", dockerfile, re.MULTILINE))
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    for _name, service in services(compose):
        assert service.get("build", {"target": "server"})["target"] in stages
    for package in ("fl_server", "fl_server_core", "fl_server_ai", "fl_server_api"):
        assert f"!{package}" in sent


def test_ports_are_published_by_the_proxy_alone(compose):
    assert [name for name, service in services(compose) if "ports" in service] == ["proxy"]
    for name in ("db", "redis"):
        assert compose["services"][name]["networks"] == ["back"]
