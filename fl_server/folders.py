"""What a server finds in its data folder when it starts for the first time."""

from pathlib import Path

from django.conf import settings

from fl_server import env


def prepare() -> None:
    """Make the folders that the settings name, and the key if none is set; again changes nothing.

    What can't be made stops the start by a check, as other settings do that can't be used.
    """
    try:
        settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (settings.SCRATCH_DIR, settings.UPLOAD_DIR, settings.RESULT_DIR):
            Path(folder).mkdir(parents=True, exist_ok=True)
        if settings.KEY_FILE:
            settings.SECRET_KEY = env.kept_secret(settings.KEY_FILE)
    except OSError as error:
        env.problems.append(f"FL_DATA_DIR can't be used: {error}.")
