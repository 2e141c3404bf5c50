"""The app's registration with Django."""

from django.apps import AppConfig


class AIConfig(AppConfig):
    """fl_server_ai."""

    name = "fl_server_ai"
