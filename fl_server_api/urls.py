"""The API's paths. Ids are any text: a malformed id is answered like an unknown one."""

from django.urls import path
from drf_spectacular.views import (
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)

from fl_server_api.views.checkpoint import Checkpoint
from fl_server_api.views.group import Group
from fl_server_api.views.inference import Inference
from fl_server_api.views.model import Model
from fl_server_api.views.notification import Notification
from fl_server_api.views.schema import Schema
from fl_server_api.views.training import Training
from fl_server_api.views.upload import Upload
from fl_server_api.views.user import User

urlpatterns = [
    path("schema/", Schema.as_view(), name="schema"),
    path("schema/swagger-ui/", SpectacularSwaggerSplitView.as_view(url_name="schema")),
    path(
        "schema/redoc/",
        SpectacularRedocView.as_view(url_name="schema", template_name="fl_server_api/redoc.html"),
    ),
    path("groups/", Group.as_view({"get": "list", "post": "create"})),
    path(
        "groups/<str:id>/",
        Group.as_view(
            {
                "get": "retrieve",
                "put": "update",
                "patch": "partial_update",
                "delete": "destroy",
            }
        ),
    ),
    path("users/", User.as_view({"get": "list", "post": "create"})),
    path("users/myself/", User.as_view({"get": "myself", "patch": "change"})),
    path("users/myself/token/", User.as_view({"post": "renew_token"})),
    path("users/groups/", User.as_view({"get": "groups"})),
    path("users/trainings/", User.as_view({"get": "trainings"})),
    path("users/<str:id>/", User.as_view({"get": "retrieve"})),
    path("uploads/", Upload.as_view({"post": "create"})),
    path(
        "uploads/<str:id>/",
        Upload.as_view({"head": "show", "patch": "receive", "delete": "destroy"}),
    ),
    path("models/", Model.as_view({"get": "list", "post": "create"})),
    path(
        "models/<str:id>/",
        Model.as_view({"get": "retrieve", "post": "update", "delete": "destroy"}),
    ),
    path("models/<str:id>/metadata/", Model.as_view({"get": "metadata"})),
    path("models/<str:id>/metrics/", Model.as_view({"get": "metrics", "post": "report_metrics"})),
    path(
        "models/<str:id>/preprocessing/",
        Model.as_view({"get": "preprocessing", "post": "upload_preprocessing"}),
    ),
    path("models/<str:id>/serving/", Model.as_view({"post": "upload_serving"})),
    path("models/<str:id>/swag/", Model.as_view({"post": "receive_swag"})),
    path("models/<str:id>/checkpoints/", Checkpoint.as_view({"get": "list_checkpoints"})),
    path(
        "models/<str:id>/checkpoints/<str:checkpoint>/",
        Checkpoint.as_view({"get": "download_checkpoint"}),
    ),
    path("trainings/", Training.as_view({"get": "list", "post": "create"})),
    path("trainings/<str:id>/", Training.as_view({"get": "retrieve", "delete": "destroy"})),
    path("trainings/<str:id>/record/", Training.as_view({"get": "record"})),
    path("trainings/<str:id>/metrics/", Training.as_view({"get": "metrics"})),
    path(
        "trainings/<str:id>/clients/",
        Training.as_view({"put": "register_clients", "delete": "remove_clients"}),
    ),
    path("trainings/<str:id>/start/", Training.as_view({"post": "start"})),
    path("trainings/<str:id>/stop/", Training.as_view({"post": "stop"})),
    path("trainings/<str:id>/resume/", Training.as_view({"post": "resume"})),
    path("trainings/<str:id>/rollback/", Training.as_view({"post": "roll_back"})),
    path("trainings/<str:id>/notify/", Training.as_view({"post": "notify"})),
    path("trainings/<str:id>/models/", Training.as_view({"get": "models"})),
    path("trainings/<str:id>/models/latest/", Training.as_view({"get": "latest_models"})),
    path("inference/", Inference.as_view({"post": "create"})),
    path("notifications/", Notification.as_view({"get": "list"})),
    path("notifications/<str:id>/ack/", Notification.as_view({"post": "ack"})),
]
