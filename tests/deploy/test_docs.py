"""docs/deployment.md names what there is."""

import re
import subprocess

from fl_server.processes import COMMANDS
from tests.compose import ROOT, read_compose
from tests.docs.pages import commands

TEXT = (ROOT / "docs" / "deployment.md").read_text()
OVERLAYS = sorted(f"deploy/{path.name}" for path in (ROOT / "deploy").glob("*.yml"))
COMPOSE = read_compose(*OVERLAYS, FL_S3_BUCKET="models")


def test_every_overlay_and_secret_is_described_and_no_other():
    assert sorted(set(re.findall(r"deploy/\w+\.yml", TEXT))) == OVERLAYS
    assert set(re.findall(r"secrets/(\w+)", TEXT)) == set(COMPOSE["secrets"])


def test_the_commands_name_services_that_there_are():
    named = re.findall(r"docker compose (?:run --rm|exec -T|restart|logs --follow) (\w+)", TEXT)
    named += re.findall(r"--scale (\w+)=", TEXT)
    assert named
    assert set(named) <= set(COMPOSE["services"])


def test_env_takes_each_variable_that_is_said_to_go_there():
    text = "".join((ROOT / name).read_text() for name in ("docker-compose.yml", *OVERLAYS))
    taken = set(re.findall(r"\$\{(\w+)", text)) | {"COMPOSE_FILE"}
    named = set(re.findall(r"\b((?:FL|CORS|COMPOSE)_\w+|TORCH_INDEX|EXTRAS)\b", TEXT))
    assert named - {"FL_TLS"} <= taken


def test_the_secrets_are_made(tmp_path):
    making = [block for block in commands("docs/deployment.md") if "> secrets/" in block]
    assert len(making) == 2
    for block in making:
        subprocess.run(["bash", "-ec", block], cwd=tmp_path, check=True)
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    lengths = {path.name: len(path.read_text().strip()) for path in folder.iterdir()}
    assert lengths == {"secret_key": 64, "postgres_password": 48, "record_key": 44}


def test_every_process_is_started():
    text = (ROOT / "docs" / "machines.md").read_text()
    assert re.findall(r"^python -m fl_server.processes (\w+)", text, re.MULTILINE) == [*COMMANDS]
    assert set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE)) <= COMMANDS.keys()
