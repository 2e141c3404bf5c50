"""Users and groups."""

from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as Weak
from rest_framework import serializers

from fl_server_core.models import User
from fl_server_core.trainings import find_users


class GroupSerializer(serializers.ModelSerializer[Group]):
    """A group."""

    class Meta:
        model = Group
        fields = ["id", "name"]


UNSAID = {"email": "", "message_endpoint": ""}


class UserSerializer(serializers.ModelSerializer[User]):
    """A user as others see it: `viewer` in the context says who."""

    # An answer's may be empty, which no e-mail address is.
    email = serializers.CharField(read_only=True, help_text="Of others empty, but for staff.")

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
        allow_null=True,  # one that is over
        help_text="For the header `Authorization: Token <token>`.",
    )

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "token"]
        read_only_fields = fields


class MyselfSerializer(UserSerializer):
    """The caller, with what the caller has decided."""

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "accepts_trainings_from"]
        read_only_fields = fields


class TokenSerializer(serializers.Serializer[Any]):
    """A user's new token."""

    token = serializers.CharField(help_text="For the header `Authorization: Token <token>`.")


def password_field(**kwargs: Any) -> serializers.CharField:
    """Return a field for a password."""
    return serializers.CharField(write_only=True, max_length=4096, trim_whitespace=False, **kwargs)


def check_rules(password: str, user: User) -> None:
    """Refuse a password that the rules in force don't allow this user."""
    try:
        validate_password(password, user)
    except Weak as error:
        raise serializers.ValidationError({"password": error.messages}) from error


class CreateUserSerializer(serializers.ModelSerializer[User]):
    """A user who registers; what isn't named here has no effect."""

    password = password_field()

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
        """Check the password by the rules in force, which look at the other fields too."""
        others = {name: value for name, value in attrs.items() if name != "password"}
        check_rules(attrs["password"], User(**others))
        return attrs


class RegistrationSerializer(CreateUserSerializer):
    """A user who registers, for the documentation: with the code, which a permission reads."""

    invitation = serializers.CharField(
        write_only=True, required=False, help_text="The code, where one is needed."
    )

    class Meta(CreateUserSerializer.Meta):
        fields = [*CreateUserSerializer.Meta.fields, "invitation"]


class ChangeUserSerializer(serializers.ModelSerializer[User]):
    """What users change of themselves; what isn't named here has no effect."""

    password = password_field(required=False)
    old_password = password_field(required=False, help_text="Needed with a new `password`.")
    accepts_trainings_from = serializers.ListField(
        child=serializers.UUIDField(),
        allow_null=True,
        required=False,
        max_length=1000,
        help_text="Ids of the users in whose trainings one takes part; null: in anybody's.",
    )

    class Meta:
        model = User
        fields = [
            "first_name",
            "last_name",
            "email",
            "message_endpoint",
            "notification_secret",
            "password",
            "old_password",
            "accepts_trainings_from",
        ]
        extra_kwargs = {"notification_secret": {"write_only": True}}

    def validate_accepts_trainings_from(self, ids: list[UUID] | None) -> list[str] | None:
        """Refuse ids of no user, because a misspelt one would keep its user out unnoticed."""
        if ids and find_users(ids) is None:
            raise serializers.ValidationError("Not all provided users were found!")
        return None if ids is None else [str(user_id) for user_id in ids]

    def validate_email(self, email: str) -> str:
        """Bring the address into the form in which registration stores it."""
        normalized: str = User.objects.normalize_email(email)
        return normalized

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let a new password pass with the old one, so that a token alone doesn't change it."""
        user, old = cast(User, self.instance), attrs.pop("old_password", "")
        if "password" not in attrs:
            return attrs
        if not user.check_password(old):
            raise serializers.ValidationError({"old_password": ["This is not your password."]})
        for name in attrs.keys() - {"password"}:  # the rules look at the other fields
            setattr(user, name, attrs[name])
        check_rules(attrs["password"], user)
        return attrs
