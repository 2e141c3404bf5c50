"""What operators see and may change at /admin/, one file per noun.

States, rounds and files are shown, not edited, because an edit by hand would bypass the rules
that the trainer keeps. Only fields without such rules can be changed.
"""

from django.contrib import admin

from fl_server_api.admin import (  # noqa: F401 (each registers its pages)
    act,
    checkpoint,
    group,
    invitation,
    metric,
    model,
    moments,
    notification,
    stats,
    tracking,
    training,
    upload,
    user,
)

admin.site.site_header = admin.site.site_title = "Federated learning"
admin.site.index_title = "How it is"
