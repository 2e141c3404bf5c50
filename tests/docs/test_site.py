"""`make docs` makes a site that needs nothing from elsewhere."""

import re
import subprocess
import sys

import pytest

from tests.compose import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

LOADED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=\"([^\"]*)\"")
IN_A_STYLE = re.compile(r"(?:@import|url\()\s*[\"']?([^\"')]*)")
LINK = re.compile(r"<a\b[^>]*?\bhref=\"([^\"#]+)")


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


def outside(addresses):
    return [address for address in addresses if re.match(r"(\w+:)?//", address)]


def test_what_would_be_loaded_from_elsewhere_is_seen():
    page = '<link rel="x" href="https://a/b.css"><script async src="//a/b.js"></script>'
    assert len(outside(LOADED.findall(page))) == 2
    assert len(outside(IN_A_STYLE.findall("@import 'https://a'; b {src: url(//a/b.woff)}"))) == 2


def test_no_page_loads_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        assert outside(LOADED.findall(text)) == [], page
        assert outside(IN_A_STYLE.findall("".join(re.findall(r"<style.*?</style>", text)))) == []


def test_no_style_loads_anything_from_elsewhere(site):
    styles = sorted(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert outside(IN_A_STYLE.findall(style.read_text())) == [], style


def test_every_link_leads_elsewhere_or_to_a_file_of_the_site(site):
    for page in site.rglob("*.html"):
        for link in LINK.findall(page.read_text()):
            assert re.match(r"\w+:", link) or (page.parent / link).is_file(), (page, link)


def test_a_link_to_a_folder_leads_to_its_readme(site):
    assert "examples/numpy/README.html" in LINK.findall((site / "README.html").read_text())


def test_the_graph_of_rooms_is_a_table(site):
    text = (site / "docs/architecture.html").read_text()
    assert "--&gt;" not in text
    assert "aggregation, cleanup, " in text
