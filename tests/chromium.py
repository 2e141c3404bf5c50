"""Chromium, where it is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.waiting import PATIENCE


@contextmanager
def browsing(url: str) -> Iterator[tuple[Page, list[str]]]:
    """Yield a page of a browser, and what its console complains of, which fails no test by itself.

    What the policy of `fl_server_api.content_security` stops is among that.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        # As root it has no sandbox; it sees this server's pages alone.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page, complaints = browser.new_page(base_url=url), []
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page, complaints
        browser.close()
