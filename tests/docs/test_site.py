"""`make docs` makes a site that needs nothing from elsewhere."""

import re
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

from tests.compose import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "link": "href",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site; every warning of Sphinx's, such as of a link that leads nowhere, fails this."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs"]
    built = subprocess.run(
        [*command, "-d", folder / "trees", ".", folder / "html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


def loaded(page):
    soup = BeautifulSoup(page.read_text(), "html.parser")
    for name, attribute in LOADED.items():
        yield from (tag[attribute] for tag in soup.find_all(name, **{attribute: True}))


def test_no_page_loads_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        outside = [url for url in loaded(page) if re.match(r"(\w+:)?//", url)]
        assert outside == [], page


def test_no_style_loads_anything_from_elsewhere(site):
    styles = sorted(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.search(r"(@import|url\()\s*[\"']?(\w+:)?//", style.read_text()), style


def test_a_link_out_of_the_docs_leads_into_the_site(site):
    soup = BeautifulSoup((site / "README.html").read_text(), "html.parser")
    for link in soup.find_all("a", href=True):
        path = link["href"].partition("#")[0]
        if path and not re.match(r"\w+:", path):
            assert (site / path).is_file(), link


def test_the_graph_of_rooms_is_a_table(site):
    text = BeautifulSoup((site / "docs/architecture.html").read_text(), "html.parser").get_text()
    assert "-->" not in text
    assert "inference, trainer, fl_server_api" in text
