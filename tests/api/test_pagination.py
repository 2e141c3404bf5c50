import pytest

from fl_server_core.models import Model
from tests.api.conftest import as_user
from tests.api.test_matrix import world  # noqa: F401 (a fixture)
from tests.factories import ModelFactory, UserFactory

URL = "/api/models/"


LISTS = [
    "groups/",
    "users/",
    "users/groups/",
    "users/trainings/",
    "models/",
    "models/{running_model}/metrics/",
    "models/{running_model}/checkpoints/",
    "trainings/",
    "trainings/{running}/models/",
    "trainings/{running}/models/latest/",
    "notifications/",
]


def test_the_pages_of_every_list_are_the_list(world):  # noqa: F811 (a fixture)
    told = world.callers["participant"]
    report = {"metric_names": ["a", "b"], "metric_values": [1, 2]}
    told.post(f"{URL}{world.names['running_model']}/metrics/", report)
    lengths = []
    for path in LISTS:
        url = f"/api/{path.format_map(world.names)}"
        caller = world.callers["superuser"] if path == "groups/" else told
        caller = world.callers["actor"] if path == "trainings/" else caller
        whole, rows, pages = caller.get(url).json(), [], [f"{url}?page=1&page_size=1"]
        while pages[-1]:
            answer = caller.get(pages[-1]).json()
            assert set(answer) == {"count", "next", "previous", "results"}
            assert answer["count"] == len(whole)
            rows += answer["results"]
            pages.append(answer["next"])
        assert rows == whole, url
        lengths.append(len(whole))
    assert min(lengths) == 1
    assert len([length for length in lengths if length > 1]) == 8


@pytest.fixture
def three(user):
    return [str(model.pk) for model in ModelFactory.create_batch(3, owner=user)]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("page=1", 0, 3),
        ("page_size=2", 0, 2),
        ("page=2&page_size=2", 2, 3),
        ("page=last&page_size=2", 2, 3),
        ("page_size=0", 0, 3),
        ("page_size=x", 0, 3),
    ],
)
def test_what_is_in_a_page(client, three, asked, first, last):
    answer = client.get(f"{URL}?{asked}").json()
    assert [row["id"] for row in answer["results"]] == three[first:last]
    assert answer["count"] == 3


def test_a_page_names_its_neighbours(client, three):
    answer = client.get(f"{URL}?page=2&page_size=1").json()
    assert answer["previous"] == f"http://testserver{URL}?page_size=1"
    assert answer["next"] == f"http://testserver{URL}?page=3&page_size=1"


@pytest.mark.parametrize("page", ["0", "2", "x", "9" * 30])
def test_a_page_that_there_is_not(client, three, page):
    response = client.get(f"{URL}?page={page}")
    assert (response.status_code, response.json()) == (404, {"detail": "Invalid page."})


def test_a_page_has_no_more_than_a_thousand_rows(client, user, three):
    Model.objects.bulk_create(ModelFactory.build(owner=user) for _ in range(1000))
    answer = client.get(f"{URL}?page_size=5000").json()
    assert (answer["count"], len(answer["results"])) == (1003, 1000)


def test_a_page_costs_no_more_with_more_rows(client, user, three, django_assert_num_queries):
    with django_assert_num_queries(4):  # the token, the count, the models, their members
        client.get(f"{URL}?page_size=1")
    with django_assert_num_queries(4):
        client.get(f"{URL}?page_size=3")


def test_strangers_see_nothing_in_pages_either(three):
    answer = as_user(UserFactory()).get(f"{URL}?page=1").json()
    assert answer == {"count": 0, "next": None, "previous": None, "results": []}
