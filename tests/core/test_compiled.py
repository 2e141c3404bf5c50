"""A compiled query gives what its queryset would give, whatever it is asked for."""

import threading
import uuid

import pytest
from django.db import connection
from django.db.models import F, Sum
from django.test.utils import CaptureQueriesContext

from fl_server_core.compiled import CompiledQuery, compiled
from fl_server_core.models import Model, Token, Training
from tests.factories import ModelFactory, TrainingFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_rows_come_with_all_that_they_are_read_with():
    rows = [ModelFactory(round=number, input_shape=[None, number]) for number in (1, 2, 3)]
    find = compiled(lambda pk: Model.objects.select_related("owner").filter(pk=pk))
    for row in rows:
        (found,) = find(row.pk)
        assert (found, found.round, found.input_shape) == (row, row.round, row.input_shape)
        assert found.created_at == Model.objects.get(pk=row.pk).created_at
        assert not found._state.adding
        with CaptureQueriesContext(connection) as queries:
            assert found.owner.username == row.owner.username
        assert not queries
    assert find(uuid.uuid4()) == []


def test_what_it_returns_may_be_values_or_sums():
    first, second = UserFactory(), UserFactory()
    for owner, size in ((first, 3), (first, 4), (second, 5)):
        ModelFactory(owner=owner, size=size)
    sums = compiled(
        lambda owner: (
            Model.objects.filter(owner=owner)
            .order_by()
            .values_list("owner")
            .annotate(of_all=Sum("size"), more=Sum(F("size") + F("round")))
        )
    )
    assert sums(first.pk) == [(first.pk, 7, 7)]
    assert sums(second.pk) == [(second.pk, 5, 5)]
    flat = compiled(
        lambda owner: (
            Model.objects.filter(owner=owner).order_by("size").values_list("size", flat=True)
        )
    )
    assert (flat(first.pk), flat(uuid.uuid4())) == ([3, 4], [])


def test_the_same_argument_may_occur_twice_and_another_not_at_all():
    user, training = UserFactory(), TrainingFactory()
    training.participants.add(user)
    both = compiled(
        lambda who, unused: Training.objects.filter(participants=who).exclude(actor=who)
    )
    assert both(user.pk, 1) == [training]
    assert both(training.actor_id, 2) == []


def test_texts_and_numbers_are_arguments_too():
    ModelFactory(name="one", round=1)
    find = compiled(lambda name, round: Model.objects.filter(name=name, round=round))
    assert [len(find("one", 1)), len(find("one", 2)), len(find("two", 1))] == [1, 0, 0]


def test_any_number_of_arguments_is_compiled_for_itself():
    rows = [ModelFactory(name=name) for name in "abc"]
    find = compiled(lambda *names: Model.objects.filter(name__in=names).order_by("name"))
    assert [find("a"), find("a", "c"), find("b"), find("c", "x")] == [
        rows[:1],
        [rows[0], rows[2]],
        rows[1:2],
        rows[2:],
    ]


def test_constants_may_be_json():
    training = TrainingFactory(options={"daisy_chain_period": 3})
    find = compiled(
        lambda actor: Training.objects.filter(actor=actor, options__daisy_chain_period__gt=1)
    )
    assert (find(training.actor_id), find(uuid.uuid4())) == ([training], [])


def test_a_branch_on_an_argument_is_found_by_every_test_that_takes_the_other():
    find = compiled(lambda round: Model.objects.filter(**{"round": round} if round > 5 else {}))
    assert find(7) == []
    with pytest.raises(AssertionError):
        find(3)


@pytest.mark.parametrize(
    "make",
    [
        lambda round: Model.objects.filter(round=round - 1),
        lambda round: Model.objects.filter(name__startswith=round),
        lambda round: Model.objects.all()[: round % 1000],
    ],
    ids=["a sum", "part of a text", "a limit"],
)
def test_what_is_made_of_an_argument_is_refused(make):
    with pytest.raises(TypeError, match="of more than its arguments"):
        compiled(make)(3)


def test_sql_is_made_once(monkeypatch):
    made = []

    def make(digest):
        made.append(digest)
        return Token.objects.filter(digest=digest)

    monkeypatch.setattr(CompiledQuery, "ask", lambda *_: [])  # which makes it anew in tests
    find = compiled(make)
    find("a")
    once = len(made)
    find("b")
    assert len(made) == once


@pytest.mark.django_db(transaction=True)
def test_each_thread_asks_by_its_own_connection():
    row, found = ModelFactory(), []
    find = compiled(lambda pk: Model.objects.filter(pk=pk))
    find(row.pk)

    def ask():
        found.extend(find(row.pk))
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [row]
