"""The app's registration with Django."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """fl_server_core."""

    name = "fl_server_core"
    verbose_name = "Federated learning"

    def ready(self) -> None:
        """Have logins noted in the audit log."""
        from django.contrib.auth.signals import user_logged_in, user_login_failed

        from fl_server_core.audit import note_login, note_wrong_password

        user_logged_in.connect(note_login, dispatch_uid="audit")
        user_login_failed.connect(note_wrong_password, dispatch_uid="audit")
