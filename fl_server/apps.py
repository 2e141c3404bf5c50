"""The app that holds the commands and the checks of the whole."""

from django.apps import AppConfig
from django.core.checks import register


class ServerConfig(AppConfig):
    """Makes the folders, before any other app begins; registers the checks on the settings."""

    name = "fl_server"

    def ready(self) -> None:  # noqa: D102
        from fl_server.checks import check_environment, check_model_classes, check_record_key
        from fl_server.folders import prepare

        prepare()
        register(check_environment)
        register(check_model_classes)
        register(check_record_key)
