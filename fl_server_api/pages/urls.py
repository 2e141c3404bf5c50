"""The pages' paths, beside the start page: as the API's without `/api`."""

from django.urls import path

from fl_server_api.pages import new_training, orders, training
from fl_server_api.pages.model import model, models
from fl_server_api.pages.record import record

urlpatterns = [
    path("models/", models, name="models"),
    path("models/<uuid:id>/", model, name="model"),
    path("trainings/", training.list_trainings, name="trainings"),
    path("trainings/new/", new_training.create, name="new_training"),
    path("trainings/<uuid:id>/", training.show, name="training"),
    path("trainings/<uuid:id>/live/", training.show_live, name="training_live"),
    path("trainings/<uuid:id>/orders/<str:name>/", orders.give, name="order"),
    path("trainings/<uuid:id>/record/", record, name="record"),
]
