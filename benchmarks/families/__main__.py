"""Which models can be uploaded: families of several libraries, traced, scripted and eager.

    python -m benchmarks.families                      all libraries that are installed
    python -m benchmarks.families torch.nn timm        these alone
    python -m benchmarks.families --operators FILE     also which family needs which operator, as in
                                                       tests/archive/admitted/needed.txt

Each is made without a download, saved, admitted, loaded by torch, and must compute what it did
before. One line for what was not, with the reason; the table at the end is that of docs/models.md.
"""

import argparse
import importlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from benchmarks.families.trying import ADMITTED, WAYS, Family, Operators, attempts
from tests.vision import declare_operators

LIBRARIES = {
    "torch.nn": "torch_nn",
    "torchvision": "torchvision_models",
    "timm": "timm_models",
    "transformers": "transformers_models",
    "peft": "peft_models",
    "torch_geometric": "torch_geometric_models",
    "monai": "monai_models",
    "segmentation_models_pytorch": "segmentation_models",
}


def load(library: str) -> list[Family]:
    """The library's families; ImportError where it isn't installed."""
    module = importlib.import_module(f"benchmarks.families.{LIBRARIES[library]}")
    families: Iterable[Family] = module.families()
    return list(families)


def measure(library: str, families: Iterable[Family], operators: Operators) -> str:
    """Prints what isn't admitted, returns the library's row."""
    counts: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    number = 0
    for family in families:
        number += 1
        for way, outcome in attempts(family, operators):
            counts[way][outcome.verdict] += 1
            if outcome.verdict != ADMITTED:
                print(
                    f"{library} {family.name}, {way}: {outcome.verdict}: {outcome.why}", flush=True
                )
    cells = [
        f"{count[ADMITTED]} of {count.total() - count['not by torch']}" for count in counts.values()
    ]
    return f"| {library} ({number}) | {' | '.join(cells)} |"


def main() -> None:
    """Library after library, the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", nargs="*", default=list(LIBRARIES))
    parser.add_argument("--operators", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    declare_operators()  # four of the libraries import torchvision
    operators: dict[str, Operators] = {}
    rows = []
    for library in options.libraries:
        try:
            found = operators[library] = defaultdict(set)
            rows.append(measure(library, load(library), found))
        except ImportError as error:
            print(f"{library} is skipped: {error}")
    print(f"\n| library (families) | {' | '.join(WAYS)} |\n| {'--- | ' * 5}".rstrip())
    print("\n".join(rows))
    if options.operators:
        options.operators.write_text(shown(operators))


def shown(operators: Mapping[str, Operators]) -> str:
    """A line for each operator: of each library that needs it a family, and how many do."""
    lines = []
    for name in sorted(set().union(*operators.values())):
        needs = {library: found[name] for library, found in operators.items() if name in found}
        users = (
            f"{library} {min(families)}" + (f" ({len(families)})" if len(families) > 1 else "")
            for library, families in sorted(needs.items())
        )
        lines.append(f"{name}: {', '.join(users)}\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
