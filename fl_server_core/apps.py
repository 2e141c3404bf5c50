"""The app's registration with Django."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """fl_server_core."""

    name = "fl_server_core"
    verbose_name = "Federated learning"
