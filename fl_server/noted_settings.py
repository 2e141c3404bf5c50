"""The settings in the audit log: noted as a server starts with others than at the last time."""

import logging
from typing import Any

from django.db import connection, transaction

from fl_server import env
from fl_server_core.audit import record_act
from fl_server_core.connections import close_all
from fl_server_core.models import Act
from fl_server_core.models.act import ActCode

log = logging.getLogger(__name__)

LOCK = 0x666C5F73657474
"""Of PostgreSQL's: several web servers may start at once."""


def note_settings() -> None:
    """Note which have changed, and what all are now; a start never fails for that.

    Of secrets only whether they are set. Called before processes are forked: no connection to the
    database stays open.
    """
    try:
        with transaction.atomic():
            _note()
    except Exception:  # whatever it is, the server can do without
        log.warning("the settings aren't noted in the audit log", exc_info=True)
    finally:
        close_all()


def _note() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    last = Act.objects.filter(code=ActCode.SETTINGS_CHANGED).last()
    before: dict[str, Any] = last.details["settings"] if last else {}
    if before != env.effective:
        names = sorted(before.keys() | env.effective.keys()) if last else []
        changed = [name for name in names if before.get(name) != env.effective.get(name)]
        record_act(ActCode.SETTINGS_CHANGED, changed=changed, settings=env.effective)
