"""Model files to send."""

import io
import json
from math import prod

WIDTH = 1024


def shapes(megabytes: float) -> dict[str, tuple[int, int]]:
    """Return tensors of float32 that come to so many millions of bytes, by name."""
    rows = max(int(megabytes * 1e6) // (4 * WIDTH), 1)
    heights = [WIDTH] * (rows // WIDTH) + [rows % WIDTH] * (rows % WIDTH > 0)
    return {f"{number}.weight": (height, WIDTH) for number, height in enumerate(heights)}


def state_dict(megabytes: float, seed: int = 0) -> bytes:
    """Return a saved state dict of so many megabytes."""
    import torch

    dice = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=dice) for name, shape in shapes(megabytes).items()}
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def safetensors_header(megabytes: float) -> tuple[bytes, int]:
    """Return what comes before the numbers in a safetensors file, and how many bytes these take."""
    header, end = {}, 0
    for name, shape in shapes(megabytes).items():
        begin, end = end, end + 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded, end
