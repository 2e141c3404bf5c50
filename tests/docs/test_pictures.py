"""The pictures in the docs: what they lose, and what they weigh."""

import numpy as np
from PIL import Image

from tests.compose import ROOT
from tests.screenshots import reduced

MOST_BYTES = 2_000_000


def test_rare_colours_stay_apart_and_frequent_ones_as_they_are():
    page = np.random.default_rng(1).integers(200, 256, (200, 200, 3)).astype(np.uint8)
    page[40:] = background = (231, 222, 240)
    curves = [(31, 119, 180), (44, 160, 44), (214, 39, 40), (148, 103, 189), (23, 150, 200)]
    for row, colour in enumerate(curves):
        page[row, :20] = colour
    shown = np.asarray(reduced(Image.fromarray(page)).convert("RGB")).astype(int)
    assert np.abs(shown - page).max() < 16
    assert np.abs(shown[40:] - background).max() < 2


def test_all_together_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "docs/images").rglob("*")) < MOST_BYTES
