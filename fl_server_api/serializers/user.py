"""Users and groups."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as Weak
from django.db import IntegrityError, transaction
from rest_framework import serializers

from fl_server_core.models import User


class GroupSerializer(serializers.ModelSerializer[Group]):
    """A group."""

    class Meta:
        model = Group
        fields = ["id", "name"]

    def save(self, **kwargs: Any) -> Group:  # noqa: D102
        with _unique("name", "group with this name already exists."):
            return super().save(**kwargs)


UNSAID = {"email": "", "message_endpoint": ""}


class UserSerializer(serializers.ModelSerializer[User]):
    """A user as others see it: `viewer` in the context says who."""

    class Meta:
        model = User
        fields = [
            "id",
            "username",
            "first_name",
            "last_name",
            "email",
            "actor",
            "client",
            "message_endpoint",
        ]
        read_only_fields = fields

    def to_representation(self, user: User) -> dict[str, Any]:
        """Tell staff and oneself where somebody is reached; clients want the keys at least."""
        shown = super().to_representation(user)
        viewer = self.context["viewer"]
        return shown if viewer == user or viewer.is_staff else shown | UNSAID


class OwnUserSerializer(UserSerializer):
    """A user as it sees itself."""

    token = serializers.CharField(
        source="auth_token.key",
        read_only=True,
        help_text="For the header `Authorization: Token <token>`.",
    )

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "token"]
        read_only_fields = fields


class CreateUserSerializer(serializers.ModelSerializer[User]):
    """A user who registers; what isn't named here has no effect."""

    password = serializers.CharField(write_only=True, max_length=4096, trim_whitespace=False)

    class Meta:
        model = User
        fields = [
            "username",
            "password",
            "message_endpoint",
            "notification_secret",
            "first_name",
            "last_name",
            "email",
            "actor",
            "client",
        ]
        extra_kwargs = {"notification_secret": {"write_only": True}}

    def validate_username(self, name: str) -> str:
        """Bring the name into its normal form, which has to keep the rules too."""
        normalized: str = User.normalize_username(name)
        if normalized != name:
            self.fields["username"].run_validators(normalized)
        return normalized

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Hold the password against the rules in force, which know the other fields."""
        password = attrs["password"]
        others = {name: value for name, value in attrs.items() if name != "password"}
        try:
            validate_password(password, User(**others))
        except Weak as error:
            raise serializers.ValidationError({"password": error.messages}) from error
        return attrs

    def create(self, validated_data: dict[str, Any]) -> User:
        """Hash the password before the transaction begins: that takes longer than all else."""
        password = validated_data.pop("password")
        user = User(**validated_data)
        user.email = User.objects.normalize_email(user.email)
        user.set_password(password)
        with _unique("username", "A user with that username already exists."):
            user.save()
        return user


@contextmanager
def _unique(field: str, message: str) -> Iterator[None]:
    """Tell of a name taken by a request that came at the same time like of any other."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise serializers.ValidationError({field: [message]}) from error
