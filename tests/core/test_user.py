import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command

from fl_server_core.models import User
from fl_server_core.models.user import validate_endpoint


def test_every_way_of_making_a_user_makes_a_token(db):
    User.objects.create_user("a", password="secret")
    User.objects.create(username="b")
    call_command("createsuperuser", username="c", email="c@example.org", interactive=False)
    assert {user.auth_token.key != "" for user in User.objects.all()} == {True}
    assert User.objects.count() == 3


def test_saving_again_keeps_the_token(db):
    user = User.objects.create_user("a")
    key = user.auth_token.key
    user.first_name = "Ada"
    user.save()
    assert User.objects.get().auth_token.key == key


@pytest.mark.parametrize(
    "url", ["http://client-01:8101/", "https://example.org", "http://127.0.0.1:5000/x?y=z"]
)
def test_http_endpoints_pass(url):
    validate_endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org",
        "client-01",
        "http://",
        "http://a b/",
        "javascript:x",
        "http://a:99999/",
        "http://a/\x01",
        "http://a:b@c/",
        "http://a@c/",
        "http://@c/",
        "https://a:b%40@c/",
        "http://a:80\\@c/",
    ],
)
def test_anything_else_is_refused(url):
    with pytest.raises(ValidationError):
        validate_endpoint(url)
