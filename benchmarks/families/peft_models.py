"""Hugging Face's models with adapters of PEFT's in them."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial

from peft import IA3Config, LoraConfig, PeftConfig, get_peft_model
from torch import nn

from benchmarks.families import transformers_models
from benchmarks.families.trying import Family

ADAPTERS: dict[str, PeftConfig] = {
    "LoRA": LoraConfig(r=4, target_modules="all-linear"),
    "DoRA": LoraConfig(r=4, target_modules="all-linear", use_dora=True),
    "IA3": IA3Config(target_modules="all-linear", feedforward_modules=[]),
}
ADAPTED = ("bert", "gpt2", "vit")


def families() -> Iterator[Family]:
    """Each adapter in some of the models."""
    for family in transformers_models.families():
        if family.name in ADAPTED:
            for name, config in ADAPTERS.items():
                make = partial(_adapted, family, config)
                yield Family(f"{family.name}, {name}", make, family.inputs)


def _adapted(family: Family, config: PeftConfig) -> nn.Module:
    adapted: nn.Module = get_peft_model(family.make(), deepcopy(config))  # which it fills in
    return adapted
