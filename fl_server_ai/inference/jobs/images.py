"""Images, by Pillow."""

import io

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from fl_server_ai.failures import JobRefused

MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")

MODES = {
    # As what each of Pillow's modes is read, and its largest value.
    "1": ("L", 255),
    "L": ("L", 255),
    "LA": ("RGBA", 255),
    "P": ("RGB", 255),
    "RGB": ("RGB", 255),
    "RGBA": ("RGBA", 255),
    "CMYK": ("RGB", 255),
    "YCbCr": ("RGB", 255),
    "I;16": ("I;16", 65535),
}


def is_image(raw: bytes) -> bool:
    """Whether the bytes begin as one of `FORMATS` does."""
    return (
        raw.startswith(BEGINNINGS)
        or (raw[:2] == b"BM" and raw[6:10] == bytes(4))
        or (raw[:4] == b"RIFF" and raw[8:12] == b"WEBP")
    )


def read_image(raw: bytes) -> Tensor:
    """Return an image as float32 in [0, 1] of shape channels, height, width.

    Grey has one channel, colour three, and a fourth if the image has transparency. Of several
    frames the first counts.
    """
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise JobRefused(f"The image has more than {MAX_PIXELS} pixels.")
            return _to_tensor(image)
    except JobRefused:
        raise
    except UnidentifiedImageError as error:  # whose text tells an address in this process
        raise JobRefused("The image can't be read: it is damaged, or of another format.") from error
    except Exception as error:  # its readers raise whatever they stumble over
        raise JobRefused(f"The image can't be read: {error}") from error


def _to_tensor(image: Image.Image) -> Tensor:
    if image.mode not in MODES:
        raise JobRefused(f"Images of mode {image.mode} aren't supported.")
    mode, largest = MODES[image.mode]
    if image.mode == "P" and "transparency" in image.info:
        mode = "RGBA"
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    values = values.reshape(image.height, image.width, -1).transpose(2, 0, 1)
    return torch.from_numpy(values.astype(np.float32) / largest)
