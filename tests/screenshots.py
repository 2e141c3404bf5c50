"""Writes pictures of all pages into docs/images/pages: `python -m tests.screenshots [NAME …]`."""

import io
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.browsing.chromium import find_chromium, opened, running_chromium
from tests.browsing.pages import PAGES, SCHEMES, WIDTHS, Sight
from tests.browsing.world import make_world
from tests.compose import ROOT
from tests.e2e.conftest import running_server

FOLDER = ROOT / "docs" / "images" / "pages"
COLOURS = 256
"""As many as a byte tells apart."""

TALLEST = 2200
"""Pixels; of longer pages the beginning is shown."""


def main(names: Iterable[str]) -> int:
    """Take them all, or those of these names."""
    if find_chromium() is None:
        sys.stdout.write("chromium is not installed\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = [sight for sight in PAGES if sight.name in names or not names]
    with tempfile.TemporaryDirectory() as path, running_server(Path(path)) as url:
        world = make_world(url, Path(path) / "var")
        with running_chromium() as browser:
            for sight in wanted:
                for width, scheme in _kinds(sight):
                    with opened(browser, world, sight, width=width, scheme=scheme) as page:
                        _take(page, FOLDER / f"{sight.name}-{width}{_suffix(scheme)}.png")
    return 0


def _kinds(sight: Sight) -> list[tuple[int, str]]:
    schemes = SCHEMES if sight.in_the_dark else SCHEMES[:1]
    return [(width, scheme) for width in WIDTHS for scheme in schemes]


def _suffix(scheme: str) -> str:
    return "" if scheme == SCHEMES[0] else f"-{scheme}"


def _take(page: Page, path: Path) -> None:
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    taken = taken.crop((0, 0, taken.width, min(taken.height, TALLEST)))
    reduced(taken).save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KB\n")


def reduced(picture: Image.Image) -> Image.Image:
    """Return a picture of fewer colours, for a third of the bytes.

    The rare ones count as much as the frequent ones, because else two curves would look alike.
    Then each of these moves to the mean of what it stands for, so that a background stays as it is.
    """
    method = Image.Quantize.MAXCOVERAGE
    return picture.quantize(COLOURS, method, kmeans=1, dither=Image.Dither.NONE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
