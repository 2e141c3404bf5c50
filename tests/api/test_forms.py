"""Forms as clients make them: files without a name, lists with brackets."""

import base64

import pytest
from marshmallow import Schema

from fl_server_api.multipart import FILES
from fl_server_api.serializers import inference, model, update
from fl_server_api.serializers.fields import Upload
from fl_server_core.models import Metric, Model
from tests.api.conftest import as_user, body_of, files, make_module, saved

MODELS = "/api/models/"
FORM = "multipart/form-data; boundary=b"


def part(disposition, content, *headers):
    lines = [f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return b"--b\r\n" + "\r\n".join(lines).encode() + content + b"\r\n"


def post(client, *parts, url=MODELS):
    described = part('name="name"', b"n") + part('name="description"', b"d")
    return client.generic("POST", url, described + b"".join(parts) + b"--b--\r\n", FORM)


def test_every_field_for_a_file_is_known_by_name():
    schemas = [
        schema
        for module in (inference, model, update)
        for schema in vars(module).values()
        if isinstance(schema, type) and issubclass(schema, Schema)
    ]
    fields = [item for schema in schemas for item in schema().fields.items()]
    assert {name for name, field in fields if isinstance(field, Upload)} == FILES


@pytest.mark.parametrize(
    "disposition",
    [
        'name="model_file"',
        "name=model_file",
        'name=" model_file "',
        'name="model_file"; filename=""',
        'name="model_file"; filename=".."',
        'name="model_file"; filename="/"',
        'name="model_file"; filename="m.pt"',
        "name=\"model_file\"; filename*=UTF-8''%C3%BC.pt",
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Content-Type: application/octet-stream",),
        ("Content-Type: text/plain; charset=utf-16", "Content-Transfer-Encoding: 8bit"),
        ("Content-Transfer-Encoding: binary",),
    ],
)
def test_a_file_is_one_by_its_fields_name(client, disposition, headers):
    content = saved(make_module(1.5)).read()
    response = post(client, part(disposition, content, *headers))
    assert response.status_code == 201, response.content
    assert body_of(client.get(f"{MODELS}{response.json()['model_id']}/"))


def test_bytes_that_are_no_text_survive(client, started, participant):
    """A byte that changed would be another number, or no archive any more."""
    content = saved(make_module(1.1)).read()
    url = f"{MODELS}{started.model_id}/"
    fields = part('name="round"', b"0") + part('name="sample_size"', b"1")
    response = post(as_user(participant), fields, part('name="model_file"', content), url=url)
    assert response.status_code == 201, response.content


def test_a_file_in_base64_is_decoded(client):
    content = base64.b64encode(saved(make_module()).read())
    response = post(client, part('name="model_file"', content, "Content-Transfer-Encoding: base64"))
    assert response.status_code == 201


def test_a_file_in_another_transfer_encoding_is_told(client):
    for name in ("quoted-printable", "x"):
        file = part('name="model_file"', b"=00", f"Content-Transfer-Encoding: {name}")
        response = post(client, file)
        assert response.status_code == 400
        assert response.json()["detail"].endswith("Content-Transfer-Encoding is binary or base64.")


def test_a_file_without_a_name_goes_to_the_disk(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    content = saved(make_module()).read()
    assert len(content) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert post(client, part('name="model_file"', content)).status_code == 201
    assert post(client, part('name="round"', content)).status_code == 413


@pytest.mark.parametrize("disposition", ['name="%s"', 'name="%s"; filename=""'])
def test_a_file_that_nobody_chose_is_none(client, disposition):
    """So a browser sends a form whose field for a file was left alone."""
    chosen = part('name="model_file"', saved(make_module()).read())
    response = post(client, chosen, part(disposition % "model_preprocessing_file", b""))
    assert response.status_code == 201
    assert not Model.objects.get().preprocessing_file
    response = post(client, part(disposition % "model_file", b""))
    assert response.json() == {"detail": "No uploaded file 'model_file' found."}


def test_a_file_given_twice_is_refused(client):
    file = part('name="model_file"', b"x")
    assert post(client, file, file).json() == {
        "model_file": ["This field was given more than once."]
    }
    assert files() == set()


@pytest.mark.parametrize(
    ("first", "second"),
    [("[]", "[]"), ("[0]", "[1]"), ("", ""), ("[3]", "[12]"), ("", "[]")],
)
def test_lists_may_come_with_brackets(client, model, first, second):
    fields = [(f"metric_names{first}", "a"), (f"metric_names{second}", "b")]
    fields += [(f"metric_values{first}", "1"), (f"metric_values{second}", "2")]
    content = "&".join(f"{name}={value}" for name, value in fields)
    url, kind = f"{MODELS}{model.pk}/metrics/", "application/x-www-form-urlencoded"
    assert client.generic("POST", url, content, kind).status_code == 201
    kept = Metric.objects.values_list("key", "value_float")
    assert sorted(kept) == [("a", 1.0), ("b", 2.0)]


def test_numbers_in_brackets_are_the_order(client):
    sizes = [part(f'name="input_shape[{place}]"', b"%d" % (place + 1)) for place in (2, 10, 0, 1)]
    file = part('name="model_file"', saved(make_module()).read())
    assert post(client, *sizes, file).status_code == 201
    assert Model.objects.get().input_shape == [1, 2, 3, 11]


@pytest.mark.parametrize("name", ["metric_names[", "metric_names[x]", "metric_names[0][1]", "a[]"])
def test_other_brackets_are_only_a_name(client, model, name):
    response = client.post(
        f"{MODELS}{model.pk}/metrics/", {name: "a", "metric_values[]": "1"}, format="multipart"
    )
    assert response.json() == {"detail": "Metric names or values are missing"}
