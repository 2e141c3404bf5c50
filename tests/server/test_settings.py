"""What the environment makes of the settings, read by a process that starts."""

import os
import secrets
import subprocess
import sys

import pytest

from fl_server import env
from tests.compose import ROOT

KEY = secrets.token_urlsafe(50)
PRODUCTION = {
    "FL_POSTGRES_HOST": "db",
    "FL_REDIS_HOST": "redis",
    "FL_DJANGO_SECRET_KEY": KEY,
    "FL_DJANGO_ALLOWED_HOSTS": "fl.example.org",
}
S3 = {"FL_S3_BUCKET": "models"}


def run(folder, *command, **environment):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"FL_DATA_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def check_deploy(folder, **environment):
    command = ("-W", "error", "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    return run(folder, *command, **environment)


def test_a_deployment_behind_tls_has_nothing_to_be_warned_of(tmp_path):
    done = check_deploy(tmp_path, **PRODUCTION, FL_TLS="true")
    assert done.returncode == 0, done.stderr


def test_one_that_speaks_plain_http_is_warned_of_that_alone(tmp_path):
    done = check_deploy(tmp_path, **PRODUCTION)
    warned = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("?: ")]
    assert warned == [f"(security.W0{number})" for number in ("04", "08", "12", "16")]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"FL_POSTGRES_HOST": "db"},
            "Set FL_DJANGO_SECRET_KEY or FL_DJANGO_SECRET_KEY_FILE.",
        ),
        (
            {"FL_POSTGRES_PASSWD_FILE": "/dev/null"},
            "FL_POSTGRES_PASSWD_FILE is set, but FL_POSTGRES_HOST is not.",
        ),
        ({"FL_REDIS_PORT": "1"}, "FL_REDIS_PORT is set, but FL_REDIS_HOST is not."),
        ({"FL_S3_REGION": "eu"}, "FL_S3_REGION is set, but FL_S3_BUCKET is not."),
        (
            S3 | {"FL_S3_ACCESS_KEY": "key"},
            "Set both FL_S3_ACCESS_KEY and FL_S3_SECRET_KEY, or none.",
        ),
        (
            S3 | {"FL_ACCEL_PREFIX": "/files/"},
            "FL_ACCEL_PREFIX is of no use with FL_S3_BUCKET: unset one of them.",
        ),
        (
            {"FL_NOTIFY_DENY": "10.0.0.1/8"},
            "FL_NOTIFY_DENY must be networks as 10.0.0.0/8, not '10.0.0.1/8'.",
        ),
        ({"FL_TLS": "perhaps"}, "FL_TLS must be true or false, not 'perhaps'."),
        (
            {"FL_MODEL_CODE": "some"},
            "FL_MODEL_CODE must be one of any, trusted, none, not 'some'.",
        ),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(tmp_path, environment, sentence):
    done = run(tmp_path, "-m", "fl_server.processes", "web", **environment)
    problems = [line for line in done.stderr.splitlines() if line.startswith("?: ")]
    assert (done.returncode, problems) == (1, [f"?: (fl_server.E001) {sentence}"])


def test_s3_without_its_library_is_told(tmp_path):
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from django.core.management import execute_from_command_line as run\n"
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'fl_server.settings'\n"
        "run(['manage.py', 'check'])"
    )
    done = run(tmp_path, "-c", code, **S3)
    assert "(fl_server.E001) FL_S3_BUCKET needs boto3: install fl-server[s3]." in done.stderr
    assert done.returncode == 1


def test_who_may_upload_code_depends_on_the_database_unless_it_is_said(tmp_path):
    code = "from fl_server import settings as s; print(s.FL_MODEL_CODE)"
    said = [
        run(tmp_path, "-c", code, **environment).stdout.strip()
        for environment in ({}, PRODUCTION, PRODUCTION | {"FL_MODEL_CODE": "any"})
    ]
    assert said == ["any", "trusted", "any"]


def test_redis_is_broker_and_cache_wherever_its_location_says(tmp_path):
    code = (
        "import django; from django.conf import settings as s; django.setup()\n"
        "print(s.CELERY_BROKER_URL, s.CACHES['default']['LOCATION'])"
    )
    settings = {"DJANGO_SETTINGS_MODULE": "fl_server.settings"}
    (tmp_path / "url").write_text("redis://:word@cache:1/\n")
    host = run(tmp_path, "-c", code, FL_REDIS_HOST="redis", FL_REDIS_PORT="7", **settings)
    url = run(tmp_path, "-c", code, FL_REDIS_LOCATION_FILE=str(tmp_path / "url"), **settings)
    assert host.stdout == "redis://redis:7 redis://redis:7\n"
    assert url.stdout == "redis://:word@cache:1/ redis://:word@cache:1/\n"


def test_models_must_be_caged_in_production_unless_told_otherwise(tmp_path):
    code = "from django.conf import settings; print(settings.FL_CAGE)"
    settings = {"DJANGO_SETTINGS_MODULE": "fl_server.settings"}
    for environment, chosen in (
        ({}, "warn"),
        (PRODUCTION, "require"),
        (PRODUCTION | {"FL_CAGE": "warn"}, "warn"),
        ({"FL_CAGE": "require"}, "require"),
    ):
        assert run(tmp_path, "-c", code, **settings, **environment).stdout == f"{chosen}\n"


def test_reading_the_settings_makes_nothing(tmp_path):
    folder = tmp_path / "data"
    done = run(folder, "-W", "error", "-c", "import fl_server.settings")
    assert (done.returncode, folder.exists()) == (0, False), done.stderr


def test_the_first_command_makes_the_folders_and_the_key(tmp_path):
    folder = tmp_path / "deep" / "data"
    done = run(folder, "manage.py", "check")
    assert done.returncode == 0, done.stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} >= {"models", "results", "secret_key"}
    tell = "from fl_server.wsgi import application; from django.conf import settings as s;"
    told = run(folder, "-c", f"{tell} print(s.SECRET_KEY)").stdout
    assert told.strip() == (folder / "secret_key").read_text()


def test_a_folder_that_can_not_be_made_stops_the_start(tmp_path):
    (tmp_path / "file").touch()
    done = run(tmp_path / "file" / "data", "-m", "fl_server.processes", "web")
    assert "(fl_server.E001) FL_DATA_DIR can't be used: [Errno 20] Not a directory" in done.stderr


def test_a_secret_of_a_server_is_no_setting_by_itself(settings):
    for name in (
        "FL_DJANGO_SECRET_KEY",
        "FL_DJANGO_SECRET_KEY_FALLBACK",
        "FL_REDIS_LOCATION",
        "FL_POSTGRES_PASSWD",
        "FL_S3_ACCESS_KEY",
        "FL_S3_SECRET_KEY",
    ):
        assert name in env.effective
        assert not hasattr(settings, name)
