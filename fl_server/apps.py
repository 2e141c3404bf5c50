"""The app that holds the commands and the checks of the whole."""

from django.apps import AppConfig
from django.core.checks import register


class ServerConfig(AppConfig):
    """Makes the folders, before any other app begins; registers the checks on the settings."""

    name = "fl_server"

    def ready(self) -> None:  # noqa: D102
        from fl_server import checks
        from fl_server.folders import prepare

        prepare()
        register(checks.check_environment)
        register(checks.check_model_classes)
        register(checks.check_record_key)
        register(checks.check_audit_log)
