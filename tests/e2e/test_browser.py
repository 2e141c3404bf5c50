"""A person who watches and steers a training in a real browser, and tries its model."""

import re

import pytest
from playwright.sync_api import expect

from tests.browsing.chromium import browsing, needs_chromium
from tests.e2e import tiny
from tests.e2e.people import Person
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, needs_chromium]
expect.set_options(timeout=PATIENCE * 1000)


def name_of(person):
    return person.ask("GET", "/users/myself/")["username"]


def play(people, model, round):
    """Have everybody hand in an update, and test what comes of them."""
    for weight, person in enumerate(people, start=round):
        person.await_notification("UPDATE_ROUND_START", round)
        person.update(model, round, tiny.update_of(float(weight)))
    for person in people:
        person.await_notification("MODEL_TEST_ROUND", round + 1)
        person.report(model, 0.25 * (round + 1))


def open_training(page, people):
    """Open a training of the only model there is, and go to its page."""
    page.goto("/trainings/new/")
    page.get_by_label("Rounds").fill("3")
    page.get_by_label("Others, by their names").fill(" ".join(map(name_of, people)))
    page.get_by_label("Uncertainty").select_option("MC_DROPOUT")
    page.get_by_role("button", name="Open the training").click()
    expect(page.get_by_text("Not started yet")).to_be_visible()


def sign_in(page, person):
    page.goto("/trainings/")
    page.get_by_label("User name").fill(name_of(person))
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Trainings")).to_be_visible()


def done(page, rounds):
    expect(page.locator(".rounds-done")).to_have_text(f"{rounds} of 3 rounds done")


def test_somebody_watches_a_training_and_steers_it(embedded):
    actor, *people = (Person(embedded) for _ in range(3))
    model = actor.upload_model(tiny.dropping(0.0))
    with browsing(embedded) as (page, complaints):
        sign_in(page, actor)
        open_training(page, people)
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_text("The training has started.")).to_be_visible()
        watch(page, lambda: play(people, model, 0))
        predict(page)
        steer(page)
        assert complaints == []


def watch(page, play_round):
    """See that the page goes along with a round, and that nothing but what is live is new."""
    page.evaluate("window.isTheSame = true")
    page.get_by_text("What the times are").click()
    play_round()
    done(page, 1)
    expect(page.locator("#rounds th[scope=row]").first).to_have_text("1")
    expect(page.locator(".chart canvas")).to_have_count(1)
    expect(page.locator("#rounds-meaning")).to_have_attribute("open", "")
    expect(page.locator("#rounds-meaning summary")).to_be_focused()
    assert page.evaluate("window.isTheSame")
    expect(page.get_by_text("The training has started.")).to_be_visible()  # not live: it stays
    expect(page.locator("#connection")).to_have_text("Live")


def predict(page):
    """Try the model that has come of the round, and see how unsure it is."""
    page.get_by_role("link", name="The model", exact=True).click()
    page.get_by_label("Numbers, as nested lists").fill("[[1, 2]]")
    page.get_by_role("button", name="Predict").last.click()
    result = page.locator("#result")
    expect(result.locator(".dot")).to_have_count(1)
    expect(result.locator(".whisker")).to_have_count(3)
    expect(result.locator("tbody .count")).to_have_text(re.compile(r"^[\d.]+ ± \d"))
    page.get_by_role("link", name="The training", exact=True).click()


def steer(page):
    page.get_by_role("link", name="Stop…").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("The training is stopped.")).to_be_visible()
    expect(page.locator("#phase")).to_contain_text("Stopped")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The training goes on.")).to_be_visible()
    done(page, 1)
    page.get_by_role("link", name=re.compile("Roll back to the version of round 0")).click()
    page.get_by_role("button", name="Roll back").click()
    done(page, 0)
    expect(page.locator("#phase")).to_contain_text("Participants train the model")
