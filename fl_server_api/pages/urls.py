"""The pages' paths, as the API's without `/api`."""

from django.urls import path

from fl_server_api.pages.model import model, models
from fl_server_api.pages.record import record

urlpatterns = [
    path("models/", models, name="models"),
    path("models/<str:id>/", model, name="model"),
    path("trainings/<str:id>/record/", record, name="record"),
]
