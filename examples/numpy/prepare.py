"""Writes the model of zeros and the clients' data as safetensors, from digits/data.py's files.

python prepare.py slices
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def make_model(file: Path) -> None:
    """Write what the training begins with."""
    zeros = {"weight": np.zeros((10, 64), np.float32), "bias": np.zeros(10, np.float32)}
    save_file(zeros, file)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    make_model(folder / "digits.safetensors")
    for file in folder.glob("client-*.npz"):  # images as rows of 64 numbers in [0, 1], and digits
        with np.load(file) as data:
            samples = {"x": data["x"].reshape(-1, 64), "y": data["y"].astype(np.uint8)}
        save_file(samples, file.with_suffix(".safetensors"))
