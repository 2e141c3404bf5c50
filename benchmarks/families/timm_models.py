"""One model of each of timm's files, the first that is small."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import timm

from benchmarks.families.torch_nn import real
from benchmarks.families.trying import Family

SIZES = (  # parts of names
    "test_ _atto _femto _pico _xxs _xx_small _nano _zepto _t0 _m0 _b0 _xs _x_small tiny _xt _t_ "
    "mini _s1 _n small _s 18 _b1 _mb 050"
)


def families() -> Iterator[Family]:
    """`scriptable`: some layers have a form that TorchScript takes, which timm then chooses."""
    for file, names in sorted(_by_file().items()):
        name = min(names, key=_size)
        shape = (1, *timm.get_pretrained_cfg(name).input_size)
        yield Family(
            f"{file} ({name})", partial(timm.create_model, name, scriptable=True), real(shape)
        )


def _by_file() -> dict[str, list[str]]:
    found = defaultdict(list)
    for name in timm.list_models():
        found[timm.models.model_entrypoint(name).__module__.rpartition(".")[2]].append(name)
    return found


def _size(name: str) -> tuple[int, int]:
    """Smaller for a smaller model, as its name has it."""
    words = SIZES.split()
    return next((n for n, word in enumerate(words) if word in name), len(words)), len(name)
