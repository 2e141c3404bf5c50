import json
import re

import pytest
import yaml
from django.core.management import call_command

from fl_server_api.urls import urlpatterns
from tests.api.conftest import end

URL = "/api/schema/"


@pytest.fixture(scope="module")
def schema():
    from drf_spectacular.generators import SchemaGenerator

    return SchemaGenerator().get_schema(public=True)


def operations(schema):
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_schema_is_valid_and_complete(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema"))


def test_it_is_yaml_by_default_and_json_if_asked_for(nobody):
    shown = nobody.get(URL)
    assert shown.status_code == 200
    assert yaml.safe_load(shown.content)["info"]["title"] == (
        "Federated Learning Demonstrator Server API"
    )
    assert json.loads(nobody.get(URL, {"format": "json"}).content)["paths"]


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/yaml",
        "application/vnd.oai.openapi",
        "application/vnd.oai.openapi+json",
    ],
)
def test_its_form_is_negotiated(nobody, kind):
    assert nobody.get(URL, headers={"accept": kind})["Content-Type"].startswith(kind)


def test_a_form_is_made_once_whatever_is_asked_besides(nobody, monkeypatch):
    first = nobody.get(URL).content

    def make_again(*_, **__):
        raise AssertionError

    monkeypatch.setattr("drf_spectacular.generators.SchemaGenerator.get_schema", make_again)
    for asked in ({"version": "9\r\nX: y"}, {"lang": "de"}, {"format": "yaml"}):
        answer = nobody.get(URL, asked, headers={"Cookie": f"a={asked}"})
        assert (answer.status_code, answer.content) == (200, first)


def test_wrong_credentials_do_not_matter(nobody, db):
    assert nobody.get(URL, headers={"Authorization": "Token x"}).status_code == 200


@pytest.mark.parametrize("page", ["swagger-ui", "redoc"])
def test_the_pages_work_without_internet(nobody, page):
    response = nobody.get(f"{URL}{page}/")
    content = response.content.decode()
    assert response.status_code == 200
    assert re.findall(r"""(?:src|href)=["'](?!/)[^"']*""", content) == []
    assert "//" not in re.sub(r"https?://testserver", "", content).replace("// ", "")
    for asset in re.findall(r"""(?:src|href)=["'](/static[^"']*)""", content):
        answer = nobody.get(asset)
        assert answer.status_code == 200, asset
        end(answer)


def test_every_path_is_described(schema):
    described = set(schema["paths"])
    routed = {"/api/" + re.sub(r"<str:(\w+)>", r"{\1}", str(r.pattern)) for r in urlpatterns}
    assert {path for path in routed if "schema" not in path} == described


def test_every_operation_says_what_it_does_and_answers(schema):
    for path, method, operation in operations(schema):
        where = (path, method)
        assert operation["summary"], where
        assert operation["tags"], where
        assert any(code.startswith("2") for code in operation["responses"]), where
        for code, response in operation["responses"].items():
            if code.startswith("4") and "content" in response:
                assert response["content"]["application/json"]["examples"], where
        if where != ("/api/users/", "post"):
            assert "401" in operation["responses"], where
            assert operation["security"] == [
                {"tokenAuth": []},
                {"basicAuth": []},
                {"cookieAuth": []},
            ]


def test_files_are_binary(schema):
    form = schema["components"]["schemas"]["UpdateRequest"]["properties"]
    assert form["model_file"] == {"type": "string", "format": "binary"}
    answer = schema["paths"]["/api/models/{id}/"]["get"]["responses"]["200"]["content"]
    assert answer["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}
