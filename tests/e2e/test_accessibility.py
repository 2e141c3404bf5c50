"""Every page of ours, as axe-core sees it: wide and narrow, and in dark colours."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browsing.chromium import needs_chromium, opened, running_chromium
from tests.browsing.pages import PAGES, SCHEMES, WIDTHS
from tests.browsing.world import make_world

pytestmark = [pytest.mark.e2e, needs_chromium]

KINDS = [*((width, SCHEMES[0]) for width in WIDTHS), (WIDTHS[0], SCHEMES[1])]
"""Widths with colours; these are the same in all widths."""

GRAVE = ("serious", "critical")
OURS = [sight for sight in PAGES if not sight.of_a_library]


@pytest.fixture(scope="module")
def world(embedded_serve):
    return make_world(embedded_serve.url, embedded_serve.folder / "var", rounds=2)


@pytest.fixture(scope="module")
def browser():
    with running_chromium() as browser:
        yield browser


def found(page):
    """Return what is wrong with a page: each rule with the elements that break it."""
    violations = Axe().run(page).response["violations"]
    return {
        rule["id"]: [node["html"] for node in rule["nodes"]]
        for rule in violations
        if rule["impact"] in GRAVE
    }


def test_no_page_keeps_anybody_out(browser, world):
    broken = {}
    for sight in OURS:
        with opened(browser, world, sight, width=WIDTHS[0], scheme=SCHEMES[0]) as page:
            for width, scheme in KINDS:
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                if wrong := found(page):
                    broken[sight.name, width, scheme] = wrong
                assert page.evaluate("document.documentElement.scrollWidth") <= width, sight.name
    assert not broken


def test_axe_would_notice(browser):
    page = browser.new_page()
    page.set_content("<html lang=en><title>t</title><p style='color: #ccc'>faint</p><img src=x>")
    assert found(page).keys() == {"color-contrast", "image-alt"}
    page.close()
