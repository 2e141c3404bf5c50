"""The app's registration with Django."""

from django.apps import AppConfig


class APIConfig(AppConfig):
    """fl_server_api."""

    name = "fl_server_api"
