"""Every link in the Markdown files leads to a file, and to a heading where it names one."""

import pytest

from tests.compose import ROOT
from tests.docs.pages import PAGES, anchors, links


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_the_navigation_leads_to_every_page_and_notebook():
    here = ROOT / "docs"
    listed = {(here / link).resolve() for link in links("docs/README.md")}
    assert listed == {ROOT / page for page in PAGES} | set(here.glob("*.ipynb"))
