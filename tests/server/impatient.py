"""The web processes' settings for gunicorn, and less patience: tests needn't wait as long."""

from fl_server import receiving
from fl_server.gunicorn import *  # noqa: F403 (all of its settings)

receiving.RECEIVE_SECONDS = receiving.GRACE_SECONDS = 3
