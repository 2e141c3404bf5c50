"""No JSON that a client may send is a fault of the server."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fl_server_core.models import Model, Training
from tests.api.conftest import as_user

texts = st.text(st.characters(exclude_categories=()), max_size=10)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    texts,
    st.sampled_from(
        ["GLOBAL", "MEAN", "FedAvg", "NONE", "3", "5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4"]
    ),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
BODIES = {
    "/api/users/": ["username", "password", "email", "message_endpoint", "actor", "first_name"],
    "/api/groups/": ["name"],
    "/api/models/": ["name", "description", "type", "models", "round", "input_shape"],
    "/api/trainings/": [
        "model_id",
        "target_num_updates",
        "metric_names",
        "aggregation_method",
        "uncertainty_method",
        "options",
        "clients",
    ],
    "/api/trainings/{training}/clients/": ["clients"],
    "/api/models/{model}/metrics/": ["metric_names", "metric_values"],
    "/api/models/{model}/": ["round", "sample_size"],
}


@pytest.mark.parametrize("path", BODIES)
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_json_is_a_fault(path, user, training, data):
    fields = dict.fromkeys(BODIES[path], values)
    if path == "/api/trainings/":
        fields["model_id"] = st.sampled_from([str(Model.objects.first().pk)]) | values
    if "metric_values" in fields:
        fields["metric_names"] = st.lists(texts, min_size=1, max_size=2) | values
        fields["metric_values"] = st.lists(scalars, min_size=1, max_size=2) | values
    body = data.draw(st.fixed_dictionaries({}, optional=fields) | values)
    url = path.format(training=Training.objects.first().pk, model=Model.objects.first().pk)
    method = "PUT" if path.endswith("clients/") else "POST"
    response = as_user(user).generic(
        method, url, json.dumps(body).encode(), content_type="application/json"
    )
    assert response.status_code < 500, response.content
    json.loads(response.content)
