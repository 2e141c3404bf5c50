"""The pages' paths, beside the start page."""

from django.urls import path

from fl_server_api.pages import new_training, orders, training

urlpatterns = [
    path("trainings/", training.list_trainings, name="trainings"),
    path("trainings/new/", new_training.create, name="new_training"),
    path("trainings/<uuid:id>/", training.show, name="training"),
    path("trainings/<uuid:id>/live/", training.show_live, name="training_live"),
    path("trainings/<uuid:id>/orders/<str:name>/", orders.give, name="order"),
]
