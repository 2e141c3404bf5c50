"""Every path the server answers to."""

from django.contrib import admin
from django.urls import include, path

from fl_server import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("fl_server_api.urls")),
    path("api-auth/", include("rest_framework.urls")),
    path("health/", health.live),
    path("health/ready/", health.ready),
]

handler400 = "fl_server_api.errors.answer_bad_request"
handler500 = "fl_server_api.errors.answer_fault"
