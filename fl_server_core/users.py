"""Users and groups: the requests that make or change one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from fl_server_core.audit import record_act
from fl_server_core.exceptions import NameTaken
from fl_server_core.models import Invitation, Notification, Token, User
from fl_server_core.models.act import ActCode
from fl_server_core.models.token import issue_token
from fl_server_core.quotas import check_groups


def register(*, password: str, invitation: str, **fields: Any) -> User:
    """Store a new user, who uses up the invitation's code unless that is empty.

    The password is hashed before the transaction begins: that takes longer than all else. Raises
    NameTaken, and what a code that is used up or over raises.
    """
    user = User(**fields)
    user.email = User.objects.normalize_email(user.email)
    user.set_password(password)
    with _unique("username", "A user with that username already exists."):
        user.save()
        if invitation:
            Invitation.objects.use(invitation, user)
    return user


def change_user(user: User, **changed: Any) -> None:
    """Store what is changed and nothing else; sessions end with their password."""
    if "password" in changed:
        changed["password"] = make_password(changed["password"])
    for name, value in changed.items():
        setattr(user, name, value)
    with transaction.atomic():
        user.save(update_fields=list(changed))
        if "message_endpoint" in changed:
            Notification.objects.readdress(user)
        if changed:
            record_act(ActCode.USER_CHANGED, user, fields=sorted(changed))


def renew_token(user: User) -> Token:
    """Give a user a new token; the one it had ends."""
    with transaction.atomic():
        token = issue_token(user)
        record_act(ActCode.TOKEN_RENEWED, user, name=user.username)
    return token


def create_group(*, name: str, member: User) -> Group:
    """Store a new group with its first member. Raises NameTaken, and QuotaReached."""
    check_groups(member)
    with transaction.atomic():
        with _unique("name", "group with this name already exists."):
            group = Group.objects.create(name=name)
        group.user_set.add(member)
        record_act(ActCode.GROUP_ADDED, group, name=name)
    return group


def rename_group(group: Group, *, name: str) -> None:
    """Store a group's new name. Raises NameTaken."""
    former, group.name = group.name, name
    with _unique("name", "group with this name already exists."):
        group.save()
        record_act(ActCode.GROUP_CHANGED, group, name=name, former=former)


def remove_group(group: Group) -> None:
    """Delete a group; its members stay."""
    with transaction.atomic():
        record_act(ActCode.GROUP_REMOVED, group, name=group.name)
        group.delete()


@contextmanager
def _unique(field: str, message: str) -> Iterator[None]:
    """Tell of a name taken by a request that came at the same time like of any other."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise NameTaken(message, field=field) from error
