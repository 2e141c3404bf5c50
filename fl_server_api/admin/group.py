"""Groups, as Django shows them."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group

from fl_server_api.admin.audited import Audited, AuditedPermissions

admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(AuditedPermissions, Audited, DjangoGroupAdmin):
    """Groups, with what their members may do."""
