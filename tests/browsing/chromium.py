"""Chromium, as the system has it, driven by playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browsing.pages import Sight
from tests.browsing.world import World
from tests.waiting import PATIENCE


def find_chromium() -> str | None:
    """Return its path, if it is installed."""
    return shutil.which("chromium")


needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed")


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start it; without its sandbox, which root can't have."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--font-render-hinting=none", "--hide-scrollbars"]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=options)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, world: World, sight: Sight, *, width: int, scheme: str
) -> Iterator[Page]:
    """Open a page, signed in as the world's user where it wants that, and act there."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",
        storage_state=_signed_in(browser, world) if sight.signed_in else None,
    )
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    page.goto(world.url + sight.path.format(**vars(world)))
    for act in sight.acts:
        act(page, world)
    yield page
    context.close()


@contextmanager
def browsing(url: str) -> Iterator[tuple[Page, list[str]]]:
    """Yield a page of a browser, and what its console complains of, which fails no test by itself.

    What the policy of `fl_server_api.content_security` stops is among that.
    """
    with running_chromium() as browser:
        page, complaints = browser.new_page(base_url=url), []
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page, complaints


_states: dict[str, object] = {}


def _signed_in(browser: Browser, world: World) -> object:
    """Return a session's cookies, made once: as a person signs in, by the form."""
    if world.url not in _states:
        page = browser.new_page()
        page.goto(f"{world.url}/api-auth/login/?next=/")
        page.fill("[name=username]", world.user)
        page.fill("[name=password]", "secret")
        page.press("[name=password]", "Enter")
        page.wait_for_url(f"{world.url}/")
        _states[world.url] = page.context.storage_state()
        page.close()
    return _states[world.url]
