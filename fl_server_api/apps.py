"""The app's registration with Django."""

from django.apps import AppConfig


class APIConfig(AppConfig):
    """Teaches Django's form parser our file fields."""

    name = "fl_server_api"

    def ready(self) -> None:  # noqa: D102
        from fl_server_api import multipart

        multipart.install()
