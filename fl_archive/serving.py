"""Code that computes predictions with weights that came without any."""

from fl_archive.errors import Mismatch
from fl_archive.model import ModelFile
from fl_archive.names import listed
from fl_archive.update import check_alike


def check_serves(module: ModelFile, weights: ModelFile) -> None:
    """Raise `Mismatch` unless the weights are a state of the module, by the same names.

    Of tied weights either may know some names only, but the weights' first is one of the module's.
    """
    surplus = [spec.name for spec in weights.distinct if spec.name not in module.tensors]
    if surplus:
        raise Mismatch(f"The module lacks {listed(surplus)} of the model.")
    given = {module.first_name(name) for name in weights.tensors if name in module.tensors}
    missing = [s.name for s in module.distinct if s.name not in given and not s.is_fixed]
    if missing:
        raise Mismatch(f"The module holds {listed(missing)}, which the model lacks.")
    check_alike({spec.name: spec for spec in weights.distinct}, module)
