import uuid
from contextlib import ExitStack, contextmanager
from threading import Event

import pytest

from fl_server_api import waiting
from fl_server_api.views import notification
from fl_server_core.models import Notification
from tests.api.conftest import as_user

URL = "/api/notifications/"


@pytest.fixture
def caller(started, participant):
    return as_user(participant)


def test_undelivered_notifications_oldest_first(caller, started):
    start, round_start = caller.get(URL).json()
    assert round_start == {
        "id": str(Notification.objects.get(type="UPDATE_ROUND_START").pk),
        "created_at": round_start["created_at"],
        "notification_type": "UPDATE_ROUND_START",
        "training_uuid": str(started.pk),
        "body": {"global_model_uuid": str(started.model_id), "round": 0},
    }
    assert start["notification_type"] == "TRAINING_START"


def test_an_acknowledged_one_is_gone(caller):
    first, second = caller.get(URL).json()
    for _ in range(2):
        response = caller.post(f"{URL}{first['id']}/ack/")
        assert (response.status_code, response.content) == (204, b"")
    assert caller.get(URL).json() == [second]
    assert Notification.objects.get(pk=first["id"]).delivered_at


def test_what_was_withdrawn_or_given_up_is_not_shown(caller):
    Notification.objects.filter(type="TRAINING_START").withdraw()
    Notification.objects.filter(type="UPDATE_ROUND_START").fail("HTTP 500")
    assert caller.get(URL).json() == []


def test_only_the_receiver_sees_and_acknowledges(caller, client, stranger, nobody):
    (first, _) = caller.get(URL).json()
    for other in (client, stranger):
        assert other.get(URL).json() == []
        assert other.post(f"{URL}{first['id']}/ack/").status_code == 403
    assert nobody.get(URL).status_code == 401
    assert nobody.post(f"{URL}{first['id']}/ack/").status_code == 401
    assert len(caller.get(URL).json()) == 2


@pytest.mark.parametrize("unknown", ["x", str(uuid.UUID(int=0))])
def test_unknown_ones_are_told_so(client, unknown):
    response = client.post(f"{URL}{unknown}/ack/")
    assert (response.status_code, response.json()) == (
        400,
        {"detail": f"Notification {unknown} not found."},
    )


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "x", "", "1e400"])
def test_a_bad_wait_is_refused(client, wait):
    response = client.get(URL, {"wait": wait})
    assert (response.status_code, list(response.json())) == (400, ["wait"])


@pytest.fixture
def instead_of_sleeping(monkeypatch):
    """Have requests that wait do something else: `instead_of_sleeping(function of the seconds)`."""
    return lambda act: monkeypatch.setattr(
        waiting, "Event", type("Woken", (Event,), {"wait": lambda _, seconds: act(seconds)})
    )


def test_a_wait_ends_with_the_first_notification(caller, instead_of_sleeping):
    pending = Notification.objects.all().deliver()
    pauses = []

    def arrive(seconds):
        pauses.append(seconds)
        Notification.objects.filter(type="TRAINING_START").send_again()

    instead_of_sleeping(arrive)
    assert len(caller.get(URL, {"wait": 30}).json()) == 1
    assert (pending, len(pauses)) == (2, 1)


@pytest.fixture
def looks(instead_of_sleeping, monkeypatch):
    """When a wait has looked."""
    now, looks = [0.0], []

    def sleep(seconds):
        now[0] += seconds
        looks.append(now[0])

    instead_of_sleeping(sleep)
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    return looks


def test_a_wait_looks_often_at_first_and_seldom_later(client, looks):
    assert client.get(URL, {"wait": 30}).json() == []
    assert sum(look < 0.25 for look in looks) >= 4
    assert len(looks) < 80
    assert looks[-1] == pytest.approx(30)


def test_a_wait_that_is_woken_by_news_hardly_looks(client, user, looks, monkeypatch):
    class Hearing:
        hears = True

        @contextmanager
        def waking(self, who, woken):
            assert who == user.pk
            yield
            left.append(woken)

    left = []
    monkeypatch.setattr(notification, "LISTENER", Hearing())
    assert client.get(URL, {"wait": 30}).json() == []
    assert looks == pytest.approx([0.02, 5.02, 10.02, 15.02, 20.02, 25.02, 30])
    assert len(left) == 1


def test_a_wait_in_vain_ends(client):
    answer = client.get(URL, {"wait": 0.05})
    assert answer.json() == []
    assert "Retry-After" not in answer.headers


def test_who_finds_no_place_to_wait_is_answered_at_once(client, user, instead_of_sleeping):
    instead_of_sleeping(lambda _: pytest.fail("it waited"))
    with ExitStack() as stack:
        for _ in range(waiting.POLLS.each):
            assert stack.enter_context(waiting.POLLS.place(user.pk))
        answer = client.get(URL, {"wait": 30})
        assert (answer.json(), answer.headers["Retry-After"]) == ([], "1")
        assert "Retry-After" not in client.get(URL).headers
    with waiting.POLLS.place(user.pk) as free:
        assert free


def test_no_user_takes_all_places():
    ann, bob, cho = (uuid.uuid4() for _ in range(3))
    places = waiting.Places(4)
    with ExitStack() as stack:
        taken = [stack.enter_context(places.place(user)) for user in 3 * [ann] + 3 * [bob] + [cho]]
    assert taken == [True, True, False, True, True, False, False]
    with places.place(cho) as free:
        assert free


def test_all_that_wait_leave_threads_to_others(settings):
    kinds = (waiting.POLLS, waiting.PREDICTIONS, waiting.SUMMARIES)
    assert 0 < sum(places.total for places in kinds) < settings.FL_WEB_THREADS


def test_the_more_are_turned_away_the_longer_they_pause(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    turned_away, crowd = waiting.TurnedAway(), [uuid.uuid4() for _ in range(1000)]
    pauses = [turned_away.pause(user) for user in 2 * crowd]
    assert (pauses[0], pauses[-1], turned_away.pause(crowd[0])) == (1, 21, 21)
    assert pauses == sorted(pauses)
    now[0] += 100
    assert turned_away.pause(crowd[0]) == 1


def test_who_polls_much_pauses_longer_and_others_do_not(monkeypatch):
    monkeypatch.setattr(waiting.time, "monotonic", lambda: 0.0)
    turned_away, busy = waiting.TurnedAway(), uuid.uuid4()
    pauses = [turned_away.pause(busy) for _ in range(1000)]
    assert (pauses[0], pauses[50], pauses[-1]) == (1, 11, 30)
    assert turned_away.pause(uuid.uuid4()) == 1
