"""What is in a file of weights, in the words that torchinfo has for a model's layers."""

from math import prod
from typing import Any

from fl_archive.model import ModelFile, TensorSpec
from fl_archive.safetensors_file import size_of


def summarise(model: ModelFile) -> dict[str, Any]:
    """Return each tensor, and their totals in elements and bytes; tied ones count once.

    Without code nobody knows what is trained: elements of tensors that may be count as trainable.
    """
    tensors = [_described(spec) for spec in model.tensors.values()]
    learned = set(model.learned)
    return {
        "total_params": sum(tensor["num_params"] for tensor in tensors),
        "trainable_params": sum(t["num_params"] for t in tensors if t["var_name"] in learned),
        "total_param_bytes": sum(tensor["param_bytes"] for tensor in tensors),
        "summary_list": tensors,
    }


def _described(spec: TensorSpec) -> dict[str, Any]:
    is_first = spec.alias_of is None
    return {
        "var_name": spec.name,
        "class_name": spec.dtype,
        "shape": list(spec.shape),
        "same_as": spec.alias_of,
        "num_params": prod(spec.shape) if is_first else 0,
        "param_bytes": size_of(spec.dtype, spec.shape) if is_first else 0,
    }
