"""The documented answers about users."""

from drf_spectacular.utils import OpenApiResponse, extend_schema

from fl_server_api.openapi import answers, described, error_response
from fl_server_api.permissions import MayRegister
from fl_server_api.serializers.generic import TrainingSerializer
from fl_server_api.serializers.user import (
    ChangeUserSerializer,
    GroupSerializer,
    MyselfSerializer,
    OwnUserSerializer,
    RegistrationSerializer,
    TokenSerializer,
    UserSerializer,
)

UNKNOWN = {"detail": "User 0d6f9c2e-5f0c-4d59-9a55-8d0a7c6c1b1f not found."}
CLOSED = {"detail": MayRegister.message}
TAKEN = {"username": ["A user with that username already exists."]}

documented = described(
    list=extend_schema(responses=answers({200: UserSerializer(many=True)})),
    create=extend_schema(
        request=RegistrationSerializer,
        responses={
            201: OpenApiResponse(OwnUserSerializer, description="The user, with its token."),
            400: error_response(400, [TAKEN]),
            403: error_response(403, [CLOSED]),
        },
    ),
    retrieve=extend_schema(
        responses=answers(
            {
                200: OpenApiResponse(
                    UserSerializer, description="The user; oneself with the `token`."
                )
            },
            {400: [UNKNOWN]},
        )
    ),
    myself=extend_schema(responses=answers({200: MyselfSerializer})),
    change=extend_schema(
        request=ChangeUserSerializer,
        responses=answers(
            {200: MyselfSerializer}, {400: [{"old_password": ["This is not your password."]}]}
        ),
    ),
    renew_token=extend_schema(request=None, responses=answers({201: TokenSerializer})),
    groups=extend_schema(responses=answers({200: GroupSerializer(many=True)})),
    trainings=extend_schema(responses=answers({200: TrainingSerializer(many=True)})),
)
