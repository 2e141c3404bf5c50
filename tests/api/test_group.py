import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection

from fl_server_core.models import User
from tests.api.conftest import as_user
from tests.factories import UserFactory

URL = "/api/groups/"
STRANGER = {"detail": "You are not allowed to access this group."}


@pytest.fixture
def group(user):
    group = Group.objects.create(name="g")
    group.user_set.add(user)
    return group


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_whoever_creates_a_group_is_a_member(client, user, kind):
    response = client.post(URL, {"name": "new"}, format=kind)
    group = Group.objects.get()
    assert (response.status_code, response.json()) == (201, {"id": group.pk, "name": "new"})
    assert user.groups.get() == group


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "a" * 151}, {"name": None}, {"name": "g"}, {"name": []}]
)
def test_a_bad_name_is_refused(client, group, body):
    response = client.post(URL, body)
    assert (response.status_code, list(response.json())) == (400, ["name"])
    assert Group.objects.get() == group


def test_a_group_needs_a_name(client):
    response = client.post(URL, {})
    assert (response.status_code, response.json()) == (400, {"name": ["This field is required."]})


def test_superusers_see_all_groups(client, group, nobody):
    chief = as_user(UserFactory(is_superuser=True))
    assert chief.get(URL).json() == [{"id": group.pk, "name": "g"}]
    response = client.get(URL)
    assert response.status_code == 403
    assert response.json() == {"detail": "You are not allowed to access all groups."}
    assert nobody.get(URL).status_code == 401
    assert nobody.post(URL, {"name": "new"}).status_code == 401


def test_members_see_and_change_their_group(client, group):
    url = f"{URL}{group.pk}/"
    assert client.get(url).json() == {"id": group.pk, "name": "g"}
    assert client.put(url, {"name": "h"}).json() == {"id": group.pk, "name": "h"}
    assert client.put(url, {}).json() == {"name": ["This field is required."]}
    assert client.patch(url, {}).json() == {"id": group.pk, "name": "h"}
    assert client.patch(url, {"name": "i"}).json() == {"id": group.pk, "name": "i"}
    removed = client.delete(url)
    assert (removed.status_code, removed.content) == (204, b"")
    assert not Group.objects.exists()


def test_a_group_with_permissions_is_changed_by_staff_alone(client, user, group):
    group.permissions.add(Permission.objects.get(codename="upload_code"))
    url = f"{URL}{group.pk}/"
    assert client.get(url).json() == {"id": group.pk, "name": "g"}
    refused = {"detail": "A group with permissions is changed by staff alone."}
    for method in ("put", "patch", "delete"):
        response = getattr(client, method)(url, {"name": "h"})
        assert (response.status_code, response.json()) == (403, refused)
    user.is_staff = True
    user.save()
    assert client.put(url, {"name": "h"}).json() == {"id": group.pk, "name": "h"}


def test_what_a_group_is_made_or_changed_with_grants_nothing(client, user, group):
    every = list(Permission.objects.values_list("pk", flat=True))
    body = {"permissions": every, "user_set": [str(user.pk)], "id": 7, "is_staff": True}
    assert client.post(URL, body | {"name": "new"}).status_code == 201
    for method in (client.put, client.patch):
        assert method(f"{URL}{group.pk}/", body | {"name": "h"}).status_code == 200
    assert not Group.objects.exclude(permissions=None).exists()
    assert not User.objects.get(pk=user.pk).get_all_permissions()
    assert not User.objects.get(pk=user.pk).is_staff


@pytest.mark.django_db(transaction=True)
def test_a_group_is_renamed_under_its_lock(client, group, monkeypatch):
    held = []
    check = "fl_server_api.views.base.ViewSet.check_object_permissions"
    monkeypatch.setattr(check, lambda *_: held.append(connection.in_atomic_block))
    assert client.put(f"{URL}{group.pk}/", {"name": "h"}).status_code == 200
    assert held == [True]


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_others_do_not(group, stranger, nobody, method):
    url = f"{URL}{group.pk}/"
    response = getattr(stranger, method)(url)
    assert (response.status_code, response.json()) == (403, STRANGER)
    assert getattr(nobody, method)(url).status_code == 401
    assert Group.objects.get() == group


@pytest.mark.parametrize("id", ["7", "x", "-1", "9" * 30, "1e3", "%00", "9" * 5000])
def test_malformed_and_unknown_ids_are_alike(client, id):
    response = client.get(f"{URL}{id}/")
    assert response.status_code == 400
    assert response.json()["detail"].endswith(" not found.")
