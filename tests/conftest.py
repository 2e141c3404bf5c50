"""What every test gets: a data folder of its own, a fast password hasher, no broker."""

import os
import tempfile

# Before Django reads its settings: tests never touch the user's data.
os.environ["FL_DATA_DIR"] = tempfile.mkdtemp(prefix="fl-server-tests-")

import pytest


@pytest.fixture(autouse=True)
def _quick_and_apart(settings, tmp_path):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.MODEL_DIR = tmp_path / "models"
    settings.SCRATCH_DIR = settings.MODEL_DIR / "scratch"
    settings.SCRATCH_DIR.mkdir(parents=True)
    settings.FILE_UPLOAD_TEMP_DIR = settings.SCRATCH_DIR
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": settings.MODEL_DIR},
        }
    }
