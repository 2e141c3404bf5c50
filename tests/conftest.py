"""What every test gets: a folder of its own for model files, a fast password hasher, a device.

`FL_DEVICE=cuda` has the tests compute on a GPU instead of the processor.
"""

import os
import tempfile

# For the processes that tests start. pytest-django has read this one's settings by now.
os.environ["FL_DATA_DIR"] = tempfile.mkdtemp(prefix="fl-server-tests-")
os.environ.setdefault("FL_DEVICE", "cpu")

import pytest
from django.core.cache import cache
from django.db import connection


@pytest.fixture(autouse=True)
def _quick_and_apart(settings, tmp_path_factory):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()  # counts nothing of other tests
    settings.FL_DEVICE = os.environ["FL_DEVICE"]
    settings.MODEL_DIR = tmp_path_factory.mktemp("models")
    settings.SCRATCH_DIR = settings.MODEL_DIR / "scratch"
    settings.SCRATCH_DIR.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = settings.SCRATCH_DIR
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": settings.MODEL_DIR},
        }
    }


@pytest.fixture(scope="session")
def django_db_modify_db_settings_parallel_suffix(request):
    """Let test processes share no database; SQLite's is in the memory of each."""
    if connection.vendor != "sqlite":
        request.getfixturevalue("django_db_modify_db_settings_xdist_suffix")


def pytest_sessionfinish(session):
    """Where everything must run, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    required = reporter and os.environ.get("FL_TESTS_REQUIRE_ALL")  # a process of xdist's has none
    if required and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
