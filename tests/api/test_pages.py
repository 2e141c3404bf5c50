"""What a browser may do with an answer: run the server's own scripts, on pages alone."""

from html.parser import HTMLParser

import pytest
from django.test import Client, override_settings

from fl_server import gauges, health
from fl_server_api.content_security import NOTHING
from tests.api.conftest import end
from tests.factories import TrainingFactory, UserFactory

PAGES = [
    "/",
    "/api/schema/swagger-ui/",
    "/api/schema/redoc/",
    "/api-auth/login/",
    "/trainings/",
    "/trainings/new/",
    "/trainings/{training}/",
    "/trainings/{training}/live/",
    "/trainings/{training}/orders/add/",
    "/trainings/{training}/orders/stop/",
    "/trainings/00000000-0000-0000-0000-000000000000/",
    "/api/users/",
    "/api/users/nobody/",
    "/admin/login/",
    "/admin/",
    "/admin/fl_server_core/training/",
    "/admin/fl_server_core/training/{training}/change/",
    "/admin/fl_server_core/training/{training}/delete/",
    "/admin/fl_server_core/training/{training}/order/stop/",
    "/admin/fl_server_core/training/{training}/order/rollback/",
    "/admin/fl_server_core/training/{training}/order/remove/",
    "/admin/fl_server_core/notification/",
    "/admin/fl_server_core/user/",
    "/admin/fl_server_core/user/add/",
    "/admin/fl_server_core/user/{user}/change/",
    "/admin/fl_server_core/user/{user}/password/",
    "/admin/fl_server_core/user/{user}/history/",
    "/admin/password_change/",
    "/nowhere/",
]


class Page(HTMLParser):
    """Notes what the policy would stop: scripts in the page, and what is fetched from elsewhere."""

    def __init__(self, content):
        super().__init__()
        self.stopped = []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        is_code = given.get("type") not in ("application/json", "text/template")
        if tag == "script" and "src" not in given and is_code:
            self.stopped.append(self.get_starttag_text())
        for name, value in attrs:
            fetched = name in ("src", "action") or (tag == "link" and name == "href")
            elsewhere = fetched and (value or "").lstrip().startswith(("http", "//"))
            if name.startswith("on") or elsewhere or "javascript:" in (value or ""):
                self.stopped.append(f"{tag} {name}={value}")


@pytest.fixture
def browser(db):
    browser = Client(headers={"Accept": "text/html"})
    browser.force_login(UserFactory(is_staff=True, is_superuser=True, username="root"))
    return browser


@pytest.fixture(autouse=True)
def _well(monkeypatch):
    """What the start pages would ask the server's workers, broker and disk."""
    monkeypatch.setattr(gauges, "told", dict)
    monkeypatch.setattr(health.READINESS, "outcome", lambda: {"database": "ok", "workers": "ok"})


@pytest.fixture
def page(browser):
    rows = {"training": TrainingFactory().pk, "user": UserFactory().pk}
    return lambda path: browser.get(path.format(**rows))


def read(policy):
    return {name: values for name, *values in map(str.split, policy.split(";"))}


@pytest.mark.parametrize("path", PAGES)
def test_pages_run_no_scripts_but_the_servers_files(page, path):
    answer = page(path)
    assert answer["Content-Type"].startswith("text/html"), answer.content
    policy = read(answer["Content-Security-Policy"])
    assert policy["default-src"] == policy["script-src"] == policy["form-action"] == ["'self'"]
    assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert Page(answer.content.decode()).stopped == []


@pytest.mark.parametrize("path", [path for path in PAGES if not path.startswith("/api/")])
def test_styles_are_files_where_no_library_writes_them(page, path):
    answer = page(path)
    assert "style-src" not in answer["Content-Security-Policy"]
    assert "<style" not in answer.content.decode()
    assert "style=" not in answer.content.decode()


def test_the_start_page_leads_to_where_one_can_sign_in(db):
    content = Client().get("/").content.decode()
    assert "All is well" in content
    assert "Your trainings" not in content
    for path in ("/api-auth/login/?next=/", "/api/schema/swagger-ui/", "/api/schema/redoc/"):
        assert f'href="{path}"' in content


def test_it_says_what_is_wrong(db, monkeypatch):
    told = {"database": "ok", "workers": "no worker on rounds"}
    monkeypatch.setattr(health.READINESS, "outcome", lambda: told)
    content = Client().get("/").content.decode()
    assert "Something is wrong" in content
    assert '<li class="bad"><b>workers</b> no worker on rounds</li>' in content


def test_it_shows_ones_own_trainings_alone(db):
    own, others = TrainingFactory(state="E", state_reason="<b>full</b>"), TrainingFactory()
    browser = Client()
    browser.force_login(own.actor)
    content = browser.get("/").content.decode()
    assert f'"/trainings/{own.pk}/"' in content
    assert "&lt;b&gt;full&lt;/b&gt;" in content
    assert str(others.pk) not in content
    assert own.actor.username in content


def test_a_script_in_a_page_would_be_noticed():
    written = '<script>1</script><p onclick="1"><a href="javascript:1"><img src="//example.org/x">'
    assert len(Page(written).stopped) == 4


def test_the_script_of_the_interactive_page_is_a_script(browser):
    answer = browser.get("/api/schema/swagger-ui/?script=")
    assert answer["Content-Type"].startswith("application/javascript")
    assert b"SwaggerUIBundle" in answer.content


def test_whoever_is_logged_in_logs_out_by_a_button(browser):
    content = browser.get("/api/users/").content.decode()
    assert "<button" in content[content.index('action="/api-auth/logout/"') :]
    browser.post("/api-auth/logout/", {"next": "/api/users/"})
    assert browser.get("/api/users/").status_code == 401


@pytest.mark.parametrize(
    "path", ["/api/users/", "/api/schema/", "/api/models/{}/", "/api/nowhere/", "/health/"]
)
def test_what_is_no_page_does_nothing_as_one(client, model, path):
    answer = client.get(path.format(model.pk))
    assert answer["Content-Security-Policy"] == NOTHING
    assert answer["X-Content-Type-Options"] == "nosniff"
    end(answer)


def test_a_host_that_is_refused_gets_a_policy_too(nobody):
    answer = nobody.get("/api/users/", headers={"host": "example.org"})
    assert (answer.status_code, answer["Content-Security-Policy"]) == (400, NOTHING)


def test_a_form_from_elsewhere_is_told_so(db):
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"})
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("CSRF Failed: ")


@override_settings(DEBUG=True)
def test_djangos_pages_about_errors_stay_readable(browser):
    assert "Content-Security-Policy" not in browser.get("/nowhere/")
