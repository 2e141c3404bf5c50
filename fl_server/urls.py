"""Every path the server answers to."""

from django.contrib import admin
from django.urls import include, path

from fl_server import health
from fl_server.metrics import metrics
from fl_server_api.pages.start import start

urlpatterns = [
    path("", start, {"ask": lambda: health.READINESS.outcome()}),
    path("admin/", admin.site.urls),
    path("api/", include("fl_server_api.urls")),
    path("api-auth/", include("rest_framework.urls")),
    path("health/", health.live),
    path("health/ready/", health.ready),
    path("metrics/", metrics),
    path("", include("fl_server_api.pages.urls")),
]

handler400 = "fl_server_api.errors.answer_bad_request"
handler500 = "fl_server_api.errors.answer_fault"
