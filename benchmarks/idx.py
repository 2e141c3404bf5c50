"""MNIST as it is published: gzipped IDX files, a pair for each part."""

import gzip
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Samples = tuple[Tensor, Tensor]
"""Images as n x 1 x 28 x 28 in [0, 1], and digits."""


@cache
def read_mnist(folder: Path, part: str) -> Samples:
    """Read the `train` or the `t10k` part."""
    images, digits = (
        np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=offset)
        for name, offset in (
            (f"{part}-images-idx3-ubyte.gz", 16),
            (f"{part}-labels-idx1-ubyte.gz", 8),
        )
    )
    pixels = torch.from_numpy(images.astype(np.float32) / 255)
    return pixels.view(-1, 1, 28, 28), torch.from_numpy(digits.astype(np.int64))
