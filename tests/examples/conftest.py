"""The example's modules, importable as they are when a user runs them, and small inputs."""

import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE = EXAMPLES / "digits"
sys.path.insert(0, str(EXAMPLE))


def pytest_collection_modifyitems(items):
    """Torch calls its own TorchScript deprecated; the example's models are TorchScript."""
    mark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(mark)


@pytest.fixture
def samples(tmp_path) -> Path:
    """A client's file: ten images, a digit each."""
    rng = np.random.default_rng(0)
    path = tmp_path / "client-1.npz"
    x = rng.random((10, 1, 8, 8), dtype=np.float32)
    np.savez(path, x=x, y=np.arange(10, dtype=np.int64))
    return path
