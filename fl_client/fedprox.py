"""FedProx' term: Li et al. 2020, "Federated Optimization in Heterogeneous Networks", 1812.06127."""

from typing import Any


class ProximalTerm:
    """mu/2 · |w - w₀|², where w₀ is what a module's parameters were when this was made.

    Add what a call returns to the loss of each batch: `loss = loss + proximal()`.
    """

    def __init__(self, model: Any, mu: float) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._received = [p.detach().clone() for p in self._parameters]
        self._mu = mu

    def __call__(self) -> Any:
        """Return the term, a tensor of torch with a gradient."""
        pairs = zip(self._parameters, self._received, strict=True)
        return self._mu / 2 * sum((now - before).square().sum() for now, before in pairs)
