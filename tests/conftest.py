"""What every test gets: a folder of its own for model files, a fast password hasher, a device.

`FL_DEVICE=cuda` has the tests compute on a GPU instead of the processor.
"""

import os
import tempfile

# For the processes that tests start. pytest-django has read this one's settings by now.
os.environ["FL_DATA_DIR"] = tempfile.mkdtemp(prefix="fl-server-tests-")
os.environ.setdefault("FL_DEVICE", "cpu")

import pytest


@pytest.fixture(autouse=True)
def _quick_and_apart(settings, tmp_path_factory):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
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


def pytest_sessionfinish(session):
    """Where everything must run, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FL_TESTS_REQUIRE_ALL") and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
